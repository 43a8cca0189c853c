//! Insertion and removal: how leaves and inner nodes are split, merged and linked.

use super::index::tag_of;
use super::inner::{Child, Children, Inner, prefix_of};
use super::leaf::{Leaf, NONE, Parts, cmp_scores};
use super::{Place, ScoreTree};

impl<const LEAF: usize, const FANOUT: usize> ScoreTree<LEAF, FANOUT> {
    /// Puts a member in, or gives it another score; answers the score it had. O(log n).
    ///
    /// # Panics
    /// If `score` is NaN.
    pub fn insert(&mut self, member: &[u8], score: f64) -> Option<f64> {
        self.insert_with(member, |_| Some(score))
    }

    /// Asks `choose`, who is told the score the member has, for the score it shall have: `None`
    /// changes nothing. Answers the score it had. One lookup.
    ///
    /// # Panics
    /// If the chosen score is NaN.
    pub fn insert_with(
        &mut self,
        member: &[u8],
        choose: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> Option<f64> {
        let hash = self.seed.hash(member);
        let place = self.find(hash, member);
        let old = place.map(|place| self.leaf(place.leaf).score(place.slot));
        let Some(score) = choose(old) else { return old };
        assert!(!score.is_nan(), "NaN has no place in an order");
        let Some(place) = place else {
            self.add(hash, member, score, None);
            self.balance();
            return None;
        };
        if self.keeps_place(place, score, member) {
            self.leaves[place.leaf as usize].set_score(place.slot, score);
            if place.slot == 0 {
                self.refresh(0, place.leaf);
            }
        } else {
            self.take_out(place);
            self.add(hash, member, score, Some(place.leaf));
        }
        old
    }

    /// Takes a member out; answers its score. O(log n).
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let hash = self.seed.hash(member);
        let place = self.find(hash, member)?;
        let score = self.leaf(place.leaf).score(place.slot);
        self.take(place, hash);
        self.balance();
        Some(score)
    }

    /// Takes the first entry out.
    pub fn pop_first(&mut self) -> Option<(Vec<u8>, f64)> {
        (self.len > 0).then(|| self.pop(Place { leaf: self.first, slot: 0 }))
    }

    /// Takes the last entry out.
    pub fn pop_last(&mut self) -> Option<(Vec<u8>, f64)> {
        (self.len > 0).then(|| self.pop(Place { leaf: self.last, slot: self.leaf(self.last).len() - 1 }))
    }

    fn pop(&mut self, place: Place) -> (Vec<u8>, f64) {
        let leaf = self.leaf(place.leaf);
        let entry = (leaf.member(place.slot).to_vec(), leaf.score(place.slot));
        let hash = self.seed.hash(&entry.0);
        self.take(place, hash);
        self.balance();
        entry
    }

    /// Takes out the entries of ranks `start..end`; answers how many there were. O(log n) a leaf.
    pub fn remove_range(&mut self, start: u64, end: u64) -> u64 {
        let total = end.min(self.len).saturating_sub(start);
        let mut left = total;
        while left > 0 {
            let place = self.place_at(start).expect("the range lies inside");
            let id = place.leaf;
            let count = (self.leaf(id).len() - place.slot).min(usize::try_from(left).unwrap_or(usize::MAX));
            if count == 1 {
                let hash = self.seed.hash(self.leaf(id).member(place.slot));
                self.take(place, hash);
                self.balance();
                left -= 1;
                continue;
            }
            for slot in place.slot..place.slot + count {
                let hash = self.seed.hash(self.leaves[id as usize].member(slot));
                self.index.remove(hash, id);
            }
            if count == self.leaf(id).len() {
                self.len -= count as u64;
                self.drop_leaf(id);
            } else {
                let mut parts = self.leaf(id).parts();
                let from = self.leaf(id).member_start(place.slot);
                let to = self.leaf(id).member_start(place.slot + count);
                parts.tags.drain(place.slot..place.slot + count);
                parts.lens.drain(place.slot..place.slot + count);
                parts.scores.drain(place.slot..place.slot + count);
                parts.members.drain(from..to);
                self.leaves[id as usize].set_parts(&parts);
                self.len -= count as u64;
                self.refresh(0, id);
                self.merge_if_small(id);
            }
            left -= count as u64;
            self.balance();
        }
        total
    }

    fn balance(&mut self) {
        let leaves = super::Hashed { leaves: &self.leaves, seed: self.seed };
        self.index.balance(&leaves);
    }

    /// Whether the entry at `place` may get this score without being moved.
    fn keeps_place(&self, place: Place, score: f64, member: &[u8]) -> bool {
        let leaf = self.leaf(place.leaf);
        let order =
            |slot: usize| cmp_scores(leaf.score(slot), score).then_with(|| leaf.member(slot).cmp(member));
        let after_left = match place.slot.checked_sub(1) {
            Some(left) => order(left).is_lt(),
            None => leaf.prev == NONE,
        };
        let before_right = match place.slot + 1 {
            right if right < leaf.len() => order(right).is_gt(),
            _ => leaf.next == NONE,
        };
        after_left && before_right
    }

    /// Puts a member in that is in no leaf; the index has it already if it comes `from` a leaf.
    fn add(&mut self, hash: u64, member: &[u8], score: f64, from: Option<u32>) {
        let mut place = self.locate(score, member);
        self.len += 1;
        loop {
            let Place { leaf: id, slot } = place;
            let leaf = self.leaf(id);
            let count = leaf.len();
            if count == 0 || leaf.bytes_with(member) <= LEAF {
                self.leaves[id as usize].insert(slot, tag_of(hash) as u8, score, member);
                self.tell_index(hash, from, id);
                self.entry_added(id, slot, score, member);
                return;
            }
            // At the ends of the tree full leaves stay full, so that ascending input packs them.
            let alone = count == 1 || member.len() > LEAF / 2;
            if slot == count && (alone || leaf.next == NONE) {
                self.add_leaf((id, true), (hash, from), score, member);
                return;
            }
            if slot == 0 && (alone || leaf.prev == NONE) {
                self.add_leaf((id, false), (hash, from), score, member);
                return;
            }
            let at = if alone { slot } else { self.middle_of(id) };
            let right = self.split_leaf(id, at);
            let goes_left = slot < at || (slot == at && self.leaf(id).bytes() <= self.leaf(right).bytes());
            place = if goes_left { place } else { Place { leaf: right, slot: slot - at } };
        }
    }

    /// The slot at which half of the bytes come before, neither first nor past the last.
    fn middle_of(&self, id: u32) -> usize {
        let leaf = self.leaf(id);
        let fixed = (leaf.bytes() - leaf.member_total()) / leaf.len();
        let (mut before, mut slot) = (0, 0);
        while before < leaf.bytes() / 2 {
            before += fixed + leaf.member_len(slot);
            slot += 1;
        }
        slot.clamp(1, leaf.len() - 1)
    }

    /// Adds one to the counts above a leaf, and tells them when its first entry is new.
    fn entry_added(&mut self, leaf: u32, slot: usize, score: f64, member: &[u8]) {
        let mut is_first = slot == 0;
        let (mut node, mut parent) = (leaf, self.leaf(leaf).parent);
        while parent != NONE {
            let inner = &mut self.inners[parent as usize];
            let at = inner.position(node);
            *inner.children.count_mut(at) += 1;
            if is_first {
                inner.children.set_first(at, score, prefix_of(member));
                is_first = at == 0;
            }
            (node, parent) = (parent, inner.parent);
        }
    }

    /// A member is in a leaf now, and was in none, or in another one, or in the same.
    fn tell_index(&mut self, hash: u64, from: Option<u32>, leaf: u32) {
        match from {
            None => self.index.insert(hash, leaf),
            Some(from) if from == leaf => {}
            Some(from) => self.index.relocate(hash, from, leaf),
        }
    }

    /// Makes a leaf of one new entry beside another leaf.
    fn add_leaf(
        &mut self,
        (beside, after): (u32, bool),
        (hash, from): (u64, Option<u32>),
        score: f64,
        member: &[u8],
    ) {
        let mut parts = Parts::default();
        parts.push(tag_of(hash) as u8, score, member);
        let id = self.store_leaf(Leaf::from_parts(&parts));
        self.tell_index(hash, from, id);
        self.link_leaf(id, beside, after);
        self.add_sibling(0, beside, id, after);
    }

    fn split_leaf(&mut self, id: u32, at: usize) -> u32 {
        let right = self.leaves[id as usize].split_off(at);
        let right = self.store_leaf(right);
        for slot in 0..self.leaf(right).len() {
            let hash = self.seed.hash(self.leaves[right as usize].member(slot));
            self.index.relocate(hash, id, right);
        }
        self.link_leaf(right, id, true);
        self.add_sibling(0, id, right, true);
        right
    }

    /// Puts leaf `id` into the chain, after or before another one.
    fn link_leaf(&mut self, id: u32, beside: u32, after: bool) {
        let (prev, next) =
            if after { (beside, self.leaf(beside).next) } else { (self.leaf(beside).prev, beside) };
        self.leaves[id as usize].prev = prev;
        self.leaves[id as usize].next = next;
        match prev {
            NONE => self.first = id,
            prev => self.leaves[prev as usize].next = id,
        }
        match next {
            NONE => self.last = id,
            next => self.leaves[next as usize].prev = id,
        }
    }

    /// Hands a new node, as yet without parent, to the parent of its neighbour.
    fn add_sibling(&mut self, level: u32, beside: u32, id: u32, after: bool) {
        let parent = self.parent_of(level, beside);
        if parent == NONE {
            let order = if after { [beside, id] } else { [id, beside] };
            let children = order.into_iter().map(|node| self.summary(level, node)).collect();
            let root = self.store_inner(Inner::new(children));
            self.set_parent(level, beside, root);
            self.set_parent(level, id, root);
            self.root = root;
            self.height += 1;
            return;
        }
        let at = self.inner(parent).position(beside) + usize::from(after);
        let child = self.summary(level, id);
        if self.inner(parent).children.len() < FANOUT {
            self.inners[parent as usize].children.insert(at, child);
            self.set_parent(level, id, parent);
        } else {
            // A node that grows at its end stays full, as leaves do.
            let cut = if at == FANOUT { FANOUT } else { FANOUT / 2 };
            let moved = self.inners[parent as usize].children.split_off(cut);
            let right = self.store_inner(Inner::new(moved));
            let (holder, at) = if at > cut || cut == FANOUT { (right, at - cut) } else { (parent, at) };
            self.inners[holder as usize].children.insert(at, child);
            self.set_parent(level, id, holder);
            for i in 0..self.inner(right).children.len() {
                let node = self.inner(right).children.nodes()[i];
                self.set_parent(level, node, right);
            }
            self.add_sibling(level + 1, parent, right, true);
        }
        self.refresh(level, beside);
        self.refresh(level, id);
    }

    /// Takes the entry at `place` out.
    fn take(&mut self, place: Place, hash: u64) {
        self.index.remove(hash, place.leaf);
        self.take_out(place);
    }

    /// Takes the entry at `place` out of its leaf, but not out of the index. Another member's slot that
    /// looks the same may be told to move in its stead: such slots stand for one another.
    fn take_out(&mut self, place: Place) {
        let Place { leaf: id, slot } = place;
        self.len -= 1;
        if self.leaf(id).len() == 1 {
            self.drop_leaf(id);
            return;
        }
        self.leaves[id as usize].remove(slot);
        if slot == 0 {
            self.refresh(0, id);
        } else {
            let (mut node, mut parent) = (id, self.leaf(id).parent);
            while parent != NONE {
                let inner = &mut self.inners[parent as usize];
                let at = inner.position(node);
                *inner.children.count_mut(at) -= 1;
                (node, parent) = (parent, inner.parent);
            }
        }
        self.merge_if_small(id);
    }

    /// Moves the entries of a nearly empty leaf to a neighbour that has room.
    fn merge_if_small(&mut self, id: u32) {
        let (leaf, parent) = (self.leaf(id), self.leaf(id).parent);
        if parent == NONE || leaf.bytes() >= LEAF / 4 {
            return;
        }
        let (prev, next) = (leaf.prev, leaf.next);
        let fits = |other: u32| {
            other != NONE
                && self.leaf(other).parent == parent
                && self.leaf(other).bytes() + leaf.bytes() <= LEAF / 4 * 3
        };
        let other = match (fits(prev), fits(next)) {
            (true, _) => prev,
            (_, true) => next,
            _ => return,
        };
        let (mut parts, more) = if other == prev {
            (self.leaf(prev).parts(), leaf.parts())
        } else {
            (leaf.parts(), self.leaf(next).parts())
        };
        parts.append(more);
        for slot in 0..self.leaf(id).len() {
            let hash = self.seed.hash(self.leaves[id as usize].member(slot));
            self.index.relocate(hash, id, other);
        }
        self.leaves[other as usize].set_parts(&parts);
        self.drop_leaf(id);
        self.refresh(0, other);
    }

    /// Gives a leaf up whose entries are gone; the last one of all stays, empty.
    fn drop_leaf(&mut self, id: u32) {
        let leaf = &mut self.leaves[id as usize];
        leaf.set_parts(&Parts::default());
        if leaf.parent == NONE {
            return;
        }
        let (prev, next) = (leaf.prev, leaf.next);
        match prev {
            NONE => self.first = next,
            prev => self.leaves[prev as usize].next = next,
        }
        match next {
            NONE => self.last = prev,
            next => self.leaves[next as usize].prev = prev,
        }
        self.drop_child(0, id);
        self.leaves[id as usize].next = self.free_leaf;
        self.free_leaf = id;
        while self.height > 0 && self.inner(self.root).children.len() == 1 {
            let root = self.root;
            self.height -= 1;
            self.root = self.inner(root).children.nodes()[0];
            self.set_parent(self.height, self.root, NONE);
            self.free_inner_node(root);
        }
    }

    /// Takes a node out of its parent, which is merged or dropped in turn when it becomes small.
    fn drop_child(&mut self, level: u32, node: u32) {
        let parent = self.parent_of(level, node);
        let at = self.inner(parent).position(node);
        self.inners[parent as usize].children.remove(at);
        if self.inner(parent).children.is_empty() {
            // A root with one child is never left behind, so this is no root.
            self.drop_child(level + 1, parent);
            self.free_inner_node(parent);
            return;
        }
        self.refresh(level + 1, parent);
        let grandparent = self.inner(parent).parent;
        if grandparent == NONE || self.inner(parent).children.len() > FANOUT / 4 {
            return;
        }
        let at = self.inner(grandparent).position(parent);
        let siblings = self.inner(grandparent).children.nodes();
        let left = if at > 0 { at - 1 } else { at };
        let (Some(&left), Some(&right)) = (siblings.get(left), siblings.get(left + 1)) else { return };
        if self.inner(left).children.len() + self.inner(right).children.len() > FANOUT / 4 * 3 {
            return;
        }
        let mut moved = std::mem::take(&mut self.inners[right as usize].children);
        for &node in moved.nodes() {
            self.set_parent(level, node, left);
        }
        self.inners[left as usize].children.append(&mut moved);
        self.drop_child(level + 1, right);
        self.free_inner_node(right);
        self.refresh(level + 1, left);
    }

    /// Brings what the ancestors know of a node up to date.
    pub(super) fn refresh(&mut self, mut level: u32, mut node: u32) {
        loop {
            let parent = self.parent_of(level, node);
            if parent == NONE {
                return;
            }
            let summary = self.summary(level, node);
            let inner = &mut self.inners[parent as usize];
            let at = inner.position(node);
            inner.children.set(at, summary);
            (level, node) = (level + 1, parent);
        }
    }

    pub(super) fn summary(&self, level: u32, node: u32) -> Child {
        if level == 0 {
            let leaf = self.leaf(node);
            let prefix = prefix_of(leaf.member_at(0, 0));
            return Child { count: leaf.len() as u64, score: leaf.score(0), prefix, node };
        }
        let children = &self.inner(node).children;
        Child { count: children.counts().iter().sum(), node, ..children.at(0) }
    }

    pub(super) fn parent_of(&self, level: u32, node: u32) -> u32 {
        if level == 0 { self.leaf(node).parent } else { self.inner(node).parent }
    }

    pub(super) fn set_parent(&mut self, level: u32, node: u32, parent: u32) {
        if level == 0 {
            self.leaves[node as usize].parent = parent;
        } else {
            self.inners[node as usize].parent = parent;
        }
    }

    pub(super) fn store_leaf(&mut self, mut leaf: Leaf) -> u32 {
        leaf.parent = NONE;
        if self.free_leaf != NONE {
            let id = self.free_leaf;
            self.free_leaf = self.leaf(id).next;
            self.leaves[id as usize] = leaf;
            return id;
        }
        grow_by_an_eighth(&mut self.leaves);
        self.leaves.push(leaf);
        node_id(self.leaves.len() - 1)
    }

    pub(super) fn store_inner(&mut self, inner: Inner) -> u32 {
        if self.free_inner != NONE {
            let id = self.free_inner;
            self.free_inner = self.inner(id).parent;
            self.inners[id as usize] = inner;
            return id;
        }
        grow_by_an_eighth(&mut self.inners);
        self.inners.push(inner);
        node_id(self.inners.len() - 1)
    }

    fn free_inner_node(&mut self, id: u32) {
        self.inners[id as usize] = Inner { parent: self.free_inner, children: Children::default() };
        self.free_inner = id;
    }
}

/// Doubling would leave half of the room unused.
fn grow_by_an_eighth<T>(nodes: &mut Vec<T>) {
    if nodes.len() == nodes.capacity() {
        nodes.reserve_exact((nodes.len() / 8).max(2));
    }
}

fn node_id(at: usize) -> u32 {
    let id = u32::try_from(at).expect("four billion nodes do not fit into memory");
    assert!(id != NONE, "four billion nodes do not fit into memory");
    id
}
