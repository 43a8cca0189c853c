"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const main = document.getElementById("main");
  const tip = document.getElementById("tip");

  // Everything that comes from the file goes into the page as text, never as markup.
  const make = (tag, options = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(options)) {
      if (value === undefined || value === null || value === false) continue;
      if (name === "class") element.className = value;
      else if (name === "style") Object.assign(element.style, value);
      else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  };
  const SVG = "http://www.w3.org/2000/svg";
  const draw = (tag, options = {}) => {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(options)) element.setAttribute(name, value);
    return element;
  };

  // Bytes of the file: a string if they are printable ASCII, else base64.
  const rawOf = (bytes) => (typeof bytes === "string" ? bytes : atob(bytes.b64));
  const hidden = /[\p{C}\p{Zl}\p{Zp}]|\p{M}{3,}/u;
  const shown = (bytes) => {
    if (typeof bytes === "string") return bytes;
    const raw = atob(bytes.b64);
    try {
      const text = new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(raw, (c) => c.charCodeAt(0)));
      if (!hidden.test(text)) return text;
    } catch { /* It is no UTF-8 then. */ }
    return [...raw].map((c) => (c >= " " && c <= "~" ? c : "\\x" + c.charCodeAt(0).toString(16).padStart(2, "0"))).join("");
  };

  const number = (value) => Math.round(value).toLocaleString("en-US");
  const bytes = (value) => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = 0, size = Math.abs(value);
    while (size >= 1024 && unit + 1 < units.length) { size /= 1024; unit += 1; }
    const digits = unit === 0 ? 0 : size < 10 ? 2 : size < 100 ? 1 : 0;
    return (value < 0 ? "\u2212" : "") + size.toFixed(digits) + "\u00a0" + units[unit];
  };
  const share = (part, whole) => (whole > 0 ? (100 * part / whole).toFixed(1) + "%" : "\u2013");
  const moment = (ms) => {
    const date = new Date(ms);
    return Number.isNaN(date.getTime()) ? number(ms) + " ms" : date.toISOString().replace("T", " ").slice(0, 16) + " UTC";
  };
  const colour = (index) => `var(--c${index % 9})`;
  const TYPES = ["string", "list", "set", "zset", "hash", "stream", "module", "array", "radix"];
  const typeColour = (type) => colour(Math.max(0, TYPES.indexOf(type)));
  const whole = data.total.memory;

  const tipAt = (x, y, name, lines) => {
    tip.replaceChildren(make("b", {}, name), ...lines.map((line) => make("div", {}, line)));
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, x + 14), innerWidth - box.width - 8);
    const top = y + 18 + box.height > innerHeight ? y - box.height - 12 : y + 18;
    Object.assign(tip.style, { left: left + "px", top: Math.max(8, top) + "px" });
  };
  const noTip = () => { tip.hidden = true; };
  addEventListener("scroll", noTip, { passive: true });

  const section = (id, title, note, ...content) => {
    const heading = make("h2", { id: id + "-title" }, title);
    main.append(make("section", { id, "aria-labelledby": id + "-title" }, heading, note ? make("p", { class: "note" }, note) : null, ...content));
    document.getElementById("nav").append(make("a", { href: "#" + id }, title));
  };
  const bar = (part, most, fill) =>
    make("span", { class: "bar", "aria-hidden": "true" }, make("i", { style: { width: (most > 0 ? 100 * part / most : 0) + "%", background: fill } }));

  // A table whose columns can be sorted. A column: [title, value of a row, how to show it, class].
  const table = (caption, columns, rows, options = {}) => {
    const body = make("tbody");
    let by = options.by ?? -1, down = true;
    const cell = (row, [, value, show, kind], first) => {
      const content = show ? show(value(row), row) : String(value(row));
      const name = kind === "key" ? "key text" : kind;
      return make(first ? "th" : "td", first ? { scope: "row", class: name } : { class: name }, content);
    };
    const fill = () => {
      const sorted = by < 0 ? rows : [...rows].sort((a, b) => {
        const [x, y] = [columns[by][1](a), columns[by][1](b)];
        return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
      });
      body.replaceChildren(...sorted.map((row) => make("tr", {}, ...columns.map((column, at) => cell(row, column, at === 0 && column[3] === "text")))));
      heads.forEach((head, at) => head.setAttribute("aria-sort", at === by ? (down ? "descending" : "ascending") : "none"));
    };
    const heads = columns.map(([title, value, , kind], at) => {
      const sort = () => { down = by === at ? !down : kind === undefined; by = at; fill(); };
      const isPlain = options.fixed || kind === "bare" || !value;
      return make("th", { scope: "col", class: kind && kind !== "bare" ? "text" : undefined }, isPlain ? title : make("button", { type: "button", onclick: sort }, title));
    });
    fill();
    if (options.fixed) heads.forEach((head) => head.removeAttribute("aria-sort"));
    const whole = make("table", { "aria-label": caption }, make("thead", {}, make("tr", {}, ...heads)), body);
    return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, whole);
  };
  const choice = (label, names, pick, chosen = 0) => {
    const buttons = names.map((name, at) => make("button", { type: "button", "aria-pressed": String(at === chosen), onclick: () => {
      buttons.forEach((button, other) => button.setAttribute("aria-pressed", String(other === at)));
      pick(at);
    } }, name));
    return make("div", { class: "seg", role: "group", "aria-label": label }, ...buttons);
  };

  const head = () => {
    const name = data.file.split("/").pop();
    document.title = name + " \u2013 memory report";
    document.getElementById("title").textContent = name;
    const facts = [data.version ? shown(data.version) : null, data.producer, data.written_at === undefined ? null : "written " + moment(1000 * data.written_at), "memory as " + data.for + " would hold it"];
    document.getElementById("sub").textContent = facts.filter(Boolean).join(" \u00b7 ");
    if (!data.complete) main.append(make("p", { class: "alert", role: "alert" }, "The file could not be read to its end. What follows is of the keys before the damage."));
    if (!data.everything) main.append(make("p", { class: "alert" }, "Only the keys that were chosen are counted."));
    const memory = data.memory;
    const tiles = [
      ["Keys", number(data.total.keys), data.dbs.length === 1 ? "in one database" : `in ${data.dbs.length} databases`],
      ["Memory", bytes(memory.sum), `estimated; ${bytes(data.total.keys ? whole / data.total.keys : 0)} a key`],
      ["In the file", bytes(data.total.file_bytes), data.total.file_bytes ? (whole / data.total.file_bytes).toFixed(1) + "\u00d7 as much in memory" : ""],
      ["Elements", number(data.total.elements), "strings count as one"],
      ["Keys that expire", share(data.total.expiring, data.total.keys), number(data.total.expiring) + " keys"],
      ["Expired", number(data.total.expired), "as of " + moment(data.as_of_ms)],
    ];
    if (memory.unexplained !== null) tiles.push(["Not explained", bytes(memory.unexplained), share(Math.abs(memory.unexplained), memory.used_mem) + " of used-mem"]);
    main.append(make("dl", { class: "tiles" }, ...tiles.map(([title, value, more]) => make("div", { class: "tile" }, make("dt", {}, title), make("dd", {}, value), make("dd", {}, more)))));
  };

  const memorySection = () => {
    const memory = data.memory;
    const parts = [
      ["Keys and values", memory.keys_and_values - memory.overcounted, colour(0)], ["Tables of keys", memory.key_tables, colour(1)], ["Tables of expiries", memory.expiry_tables, colour(2)],
      ["Function libraries", memory.functions, colour(3)], ["An empty server", memory.startup, colour(8)],
    ].filter((part) => part[1] > 0);
    const rest = memory.unexplained;
    if (rest > 0) parts.push(["Not explained", rest, "var(--track)", "hatch"]);
    const sum = parts.reduce((total, part) => total + part[1], 0);
    const stack = make("div", { class: "stack", role: "img", "aria-label": parts.map((part) => `${part[0]} ${share(part[1], sum)}`).join(", ") },
      ...parts.map(([name, size, fill, kind]) => make("i", { class: kind, style: { width: 100 * size / sum + "%", background: kind ? undefined : fill },
        onpointermove: (event) => tipAt(event.clientX, event.clientY, name, [`${bytes(size)}, ${share(size, sum)}`]), onpointerleave: noTip })));
    const rows = parts.map(([name, size, fill, kind]) => make("tr", {}, make("th", { class: "text", scope: "row" }, make("span", { class: "swatch " + (kind ?? ""), style: { background: kind ? undefined : fill } }), name),
      make("td", {}, number(size)), make("td", {}, bytes(size)), make("td", {}, share(size, sum))));
    if (memory.used_mem !== null) rows.push(make("tr", { class: "sum" }, make("th", { class: "text", scope: "row" }, "used-mem, as the file's writer counted it"), make("td", {}, number(memory.used_mem)), make("td", {}, bytes(memory.used_mem)), make("td", {}, "")));
    const why = memory.unexplained === null ? "Not compared with used-mem: " + memory.not_compared + "."
      : rest >= 0 ? "Not explained are " + data.unexplained_is + "." : "The estimate is " + bytes(-rest) + " above what the writer used.";
    const over = memory.overcounted > 0 ? ` The ${data.for} command MEMORY USAGE counts ${bytes(memory.overcounted)} more for keys and values than are allocated; that is left out here, and is in the other tables.` : "";
    section("memory", "Where the memory goes", `An estimate of what ${data.for} allocates after loading this file with default limits.` + over,
      stack, make("div", { class: "scroll" }, make("table", { "aria-label": "Parts of the memory" }, make("thead", {}, make("tr", {}, make("th", { class: "text", scope: "col" }, "Part"), make("th", { scope: "col" }, "Bytes"), make("th", { scope: "col" }, ""), make("th", { scope: "col" }, "Share"))), make("tbody", {}, ...rows))),
      make("p", { class: "note" }, why));
  };

  const tallyColumns = (name, fill) => [
    [name, (row) => row.label, (label, row) => make("span", {}, make("span", { class: "swatch", style: { background: fill(row) } }), label), "text"],
    ["Memory", (row) => row.memory, (value) => bytes(value)],
    ["Share", (row) => row.memory, (value) => share(value, whole)],
    ["", null, (_, row) => bar(row.memory, row.most, fill(row)), "bare"],
    ["Keys", (row) => row.keys, number],
    ["Bytes a key", (row) => (row.keys ? row.memory / row.keys : 0), number],
    ["In file", (row) => row.file_bytes, (value) => bytes(value)],
    ["Elements", (row) => row.elements, number],
    ["Expiring", (row) => row.expiring, number],
  ].map(([title, value, show, kind]) => [title, value ?? (() => 0), show, kind]);
  const tallies = (caption, name, rows, label, fill) => {
    const most = Math.max(...rows.map((row) => row.memory), 1);
    return table(caption, tallyColumns(name, fill), rows.map((row) => ({ ...row, label: label(row), most })), { by: 1 });
  };
  const groups = () => {
    section("types", "Types and encodings", null,
      tallies("Types", "Type", data.types, (row) => row.type, (row) => typeColour(row.type)),
      make("h3", {}, "As the server would encode them"),
      tallies("Encodings", "Encoding", data.encodings, (row) => row.type + " " + row.encoding, (row) => typeColour(row.type)),
      make("h3", {}, "As the file has them"),
      tallies("Records", "Record", data.records, (row) => row.record, () => colour(8)),
      ...(data.dbs.length > 1 ? [make("h3", {}, "Databases"), tallies("Databases", "Database", data.dbs, (row) => "db " + row.db, (row) => colour(row.db))] : []));
  };

  // The prefixes as a tree: a box is as wide as what is below it, its children stand under it.
  const flame = () => {
    const rows = data.prefixes.rows;
    if (rows.length === 0) return;
    const separator = rawOf(data.prefixes.separator);
    const top = { raw: "", name: "all keys", keys: data.total.keys, memory: whole, expiring: data.total.expiring, children: [], parent: null, level: 0 };
    const nodes = new Map([["", top]]);
    // Parents before children.
    for (const row of [...rows].sort((a, b) => a.level - b.level)) {
      const raw = rawOf(row.prefix);
      const cut = raw.lastIndexOf(separator, raw.length - 2 * separator.length);
      let parent = nodes.get(cut < 0 ? "" : raw.slice(0, cut + separator.length)) ?? top;
      const node = { raw, name: shown(row.prefix), keys: row.keys, memory: row.memory, expiring: row.expiring, children: [], parent, level: parent.level + 1 };
      parent.children.push(node);
      nodes.set(raw, node);
    }
    let measure = "memory", zoomed = top, wanted = "", focused = top;
    const box = make("div", { class: "flame", role: "tree", "aria-label": "Prefixes by what is below them" });
    const trail = make("p", { class: "live", "aria-live": "polite" });
    const out = make("button", { class: "plain", type: "button", onclick: () => zoom(zoomed.parent ?? top) }, "Zoom out");
    const hue = (text) => { let hash = 2166136261; for (const c of text) hash = Math.imul(hash ^ c.charCodeAt(0), 16777619); return (hash >>> 0) % 360; };
    const tint = (node) => {
      const family = node.level <= 1 ? node : (() => { let up = node; while (up.level > 1) up = up.parent; return up; })();
      return node === top ? "hsl(212 18% 78%)" : `hsl(${hue(family.raw)} ${62 - 4 * node.level}% ${67 + 4 * Math.min(node.level, 5)}%)`;
    };
    const lines = (node) => [`${bytes(node.memory)}, ${share(node.memory, whole)} of all`, `${number(node.keys)} keys, ${number(node.keys ? node.memory / node.keys : 0)} bytes each`, `${share(node.expiring, node.keys)} expiring`];
    const buttons = new Map();
    const render = () => {
      const places = [];
      const put = (node, left, width, depth) => {
        places.push([node, left, width, depth]);
        const size = Math.max(node[measure], node.children.reduce((sum, child) => sum + child[measure], 0), 1);
        let at = left;
        for (const child of [...node.children].sort((a, b) => b[measure] - a[measure])) {
          const part = width * child[measure] / size;
          if (part < 0.12) break;
          put(child, at, part, depth + 1);
          at += part;
        }
      };
      const path = [];
      for (let up = zoomed.parent; up; up = up.parent) path.unshift(up);
      path.forEach((node, depth) => places.push([node, 0, 100, depth, true]));
      put(zoomed, 0, 100, path.length);
      const depth = Math.max(...places.map((place) => place[3])) + 1;
      box.style.height = depth * 26 + "px";
      const keep = new Set();
      for (const [node, left, width, level, isUp] of places) {
        let button = buttons.get(node);
        if (!button) {
          button = make("button", { type: "button", role: "treeitem", tabindex: "-1",
            onclick: () => zoom(node === zoomed ? (node.parent ?? top) : node),
            onpointermove: (event) => tipAt(event.clientX, event.clientY, node.name, lines(node)), onpointerleave: noTip,
            onfocus: () => { focused = node; const at = button.getBoundingClientRect(); if (button.matches(":focus-visible")) tipAt(at.left + 10, at.bottom - 12, node.name, lines(node)); }, onblur: noTip,
          }, node === top ? node.name : node.name.slice(node.parent === top ? 0 : node.parent.name.length) || node.name);
          button.style.background = tint(node);
          buttons.set(node, button);
          box.append(button);
        }
        keep.add(node);
        button.className = (width * box.clientWidth / 100 < 42 ? "thin " : "") + (isUp ? "up" : "") + (wanted && !node.name.toLowerCase().includes(wanted) ? " dim" : "");
        Object.assign(button.style, { left: left + "%", width: width + "%", top: level * 26 + "px" });
        button.setAttribute("aria-level", level + 1);
        button.setAttribute("aria-label", [node.name, ...lines(node)].join(", "));
        button.tabIndex = node === focused ? 0 : -1;
      }
      for (const [node, button] of buttons) if (!keep.has(node)) { button.remove(); buttons.delete(node); }
      if (!keep.has(focused)) { focused = zoomed; buttons.get(zoomed).tabIndex = 0; }
      out.disabled = zoomed === top;
    };
    const zoom = (node) => {
      const hadFocus = box.contains(document.activeElement);
      zoomed = node; focused = node; noTip(); render();
      trail.textContent = node === top ? "" : `${node.name}: ${lines(node).join(", ")}`;
      if (hadFocus) buttons.get(node).focus({ preventScroll: true });
    };
    box.addEventListener("keydown", (event) => {
      const shownChildren = (node) => [...node.children].sort((a, b) => b[measure] - a[measure]).filter((child) => buttons.has(child));
      const siblings = focused.parent ? shownChildren(focused.parent) : [];
      const at = siblings.indexOf(focused);
      const next = { ArrowDown: shownChildren(focused)[0], ArrowUp: focused.parent, ArrowRight: siblings[at + 1], ArrowLeft: siblings[at - 1], Home: top, Escape: null }[event.key];
      if (event.key === "Escape") { zoom(top); event.preventDefault(); return; }
      if (next === undefined || next === null) return;
      event.preventDefault();
      if (!buttons.has(next)) return;
      buttons.get(focused).tabIndex = -1;
      focused = next;
      buttons.get(next).tabIndex = 0;
      buttons.get(next).focus();
    });
    const search = make("input", { type: "search", placeholder: "Find a prefix", "aria-label": "Find a prefix", oninput: () => { wanted = search.value.toLowerCase(); render(); } });
    // A prefix of one key says nothing that the key does not.
    const several = rows.filter((row) => row.keys > 1).map((row) => ({ ...row, label: shown(row.prefix) }));
    const rowsShown = several.slice(0, 20);
    const most = Math.max(...rowsShown.map((row) => row.memory), 1);
    const without = data.prefixes.without;
    const columns = [
      ["Prefix", (row) => row.label, null, "key"],
      ["Memory", (row) => row.memory, (value) => bytes(value)],
      ["Share", (row) => row.memory, (value) => share(value, whole)],
      ["", () => 0, (_, row) => bar(row.memory, most, "var(--c0)"), "bare"],
      ["Keys", (row) => row.keys, number],
      ["Bytes a key", (row) => (row.keys ? row.memory / row.keys : 0), number],
      ["Elements", (row) => row.elements, number],
      ["Expiring", (row) => row.expiring, (value, row) => share(value, row.keys)],
    ];
    const more = make("button", { class: "plain", type: "button", onclick: () => holder.replaceChildren(table("Prefixes", columns, several.slice(0, 500), { by: 1 })) }, `Show ${number(Math.min(several.length, 500))}`);
    const holder = make("div", {}, table("Prefixes", columns, rowsShown, { by: 1 }), several.length > rowsShown.length ? make("p", { class: "tools" }, more) : null);
    const note = `A key counts below each of its prefixes, which end with \u201c${shown(data.prefixes.separator)}\u201d, up to ${data.prefixes.depth} of them. Click a box, or press Enter on it, to zoom; arrow keys move, Escape shows all.`;
    const exact = data.prefixes.exact ? null : make("p", { class: "note" }, `There were too many prefixes to keep: a row may lack up to ${bytes(data.prefixes.may_lack)}, and smaller rows may be missing.`);
    section("prefixes", "Prefixes", note,
      make("div", { class: "tools" }, choice("Width of a box", ["By memory", "By keys"], (at) => { measure = ["memory", "keys"][at]; render(); }), out, search),
      box, trail, exact,
      without.keys > 0 ? make("p", { class: "note" }, `${number(without.keys)} keys, ${bytes(without.memory)}, have no prefix.`) : null,
      make("h3", {}, several.length > rowsShown.length ? `The ${rowsShown.length} largest` : "All with more than one key"),
      holder);
    render();
    addEventListener("resize", render);
  };

  const spans = () => {
    const chart = (rows, measure, fill) => {
      const all = rows.reduce((sum, row) => sum + row[measure], 0), most = Math.max(...rows.map((row) => row[measure]), 1);
      return make("div", { class: "chart", role: "list" }, ...rows.flatMap((row, at) => [
        make("span", { class: "l" }, row.span),
        make("span", { class: "bar", role: "img", "aria-label": `${row.span}: ${share(row[measure], all)}` }, make("i", { style: { width: 100 * row[measure] / most + "%", background: fill(at) } })),
        make("span", { class: "n" }, `${measure === "memory" ? bytes(row.memory) : number(row.count)} \u00b7 ${share(row[measure], all)}`),
      ]));
    };
    const ttlFill = (at) => [colour(8), colour(4), colour(1), colour(1), colour(0), colour(0), colour(2), colour(2)][at];
    const holder = make("div", {}, chart(data.ttl, "count", ttlFill));
    const parts = [make("div", { class: "tools" }, choice("What to show", ["Keys", "Memory"], (at) => holder.replaceChildren(chart(data.ttl, ["count", "memory"][at], ttlFill)))), holder];
    if (data.field_ttl) parts.push(make("h3", {}, "Hash fields (of hashes that have some with an expiry)"), chart(data.field_ttl, "count", ttlFill));
    if (data.idle) parts.push(make("h3", {}, "Not used for"), chart(data.idle, "count", () => colour(6)));
    section("ttl", "Time to live", "As of " + moment(data.as_of_ms) + ".", ...parts);
  };

  const biggest = () => {
    const lists = [["By memory", data.biggest_by_memory, "memory"], ["By elements", data.biggest_by_elements, "elements"], ["Most used", data.most_used, "freq"]].filter((list) => list[1].length > 0);
    if (lists.length === 0) return;
    const columns = [
      ["Key", (row) => shown(row.key), (name, row) => (row.key_bytes ? `${name}\u2026 (${number(row.key_bytes)} bytes)` : name), "key"],
      ["Type", (row) => row.type, (type, row) => make("span", {}, make("span", { class: "swatch", style: { background: typeColour(type) } }), `${type} ${row.encoding}`), "text"],
      ["Memory", (row) => row.memory, (value) => bytes(value)],
      ["Share", (row) => row.memory, (value) => share(value, whole)],
      ["Elements", (row) => row.elements, number],
      ["Longest", (row) => row.longest, (value) => bytes(value)],
      ["In file", (row) => row.file_bytes, (value) => bytes(value)],
      ["db", (row) => row.db, String],
      ["Expires", (row) => row.pexpireat ?? Infinity, (at) => (at === Infinity ? "\u2013" : moment(at))],
    ];
    const withFreq = [...columns.slice(0, 2), ["Counter", (row) => row.freq, String], ...columns.slice(2)];
    const show = (at) => table("Biggest keys, " + lists[at][0].toLowerCase(), lists[at][2] === "freq" ? withFreq : columns, lists[at][1], { by: lists[at][2] === "elements" ? 4 : 2 });
    const holder = make("div", {}, show(0));
    section("keys", "Biggest keys", null, lists.length > 1 ? make("div", { class: "tools" }, choice("Order", lists.map((list) => list[0]), (at) => holder.replaceChildren(show(at)))) : null, holder);
  };

  const sizes = () => {
    const spark = (histogram) => {
      const counts = histogram.doublings, first = counts.findIndex((count) => count > 0), shownCounts = counts.slice(Math.max(first, 0));
      const most = Math.max(...shownCounts, 1), step = 132 / Math.max(shownCounts.length, 6);
      const svg = draw("svg", { class: "spark", viewBox: "0 0 132 30", role: "img", "aria-label": "spread from " + number(histogram.least) + " to " + number(histogram.greatest) });
      shownCounts.forEach((count, at) => {
        if (count === 0) return;
        const height = Math.max(1.5, 29 * Math.log1p(count) / Math.log1p(most));
        svg.append(draw("rect", { x: at * step, y: 30 - height, width: Math.max(1, step - 1), height }));
      });
      return svg;
    };
    const rows = data.types.flatMap((type) => [
      ["memory of a key", type.memory_of_key, bytes], ["elements of a key", type.elements_of_key, number], [type.type === "stream" ? "bytes of a node" : "bytes of an element", type.bytes_of_element, bytes],
    ].filter(([what, histogram]) => histogram.count > 0 && !(what.startsWith("elements") && histogram.greatest <= 1)).map(([what, histogram, show]) => ({ type: type.type, what, histogram, show })));
    const of = (value) => [(row) => value(row.histogram), (found, row) => row.show(found)];
    section("sizes", "Sizes", "Bars are doublings, from the least to the greatest, on a logarithmic scale. Percentiles are at most 1/32 too high; mean and greatest are exact.",
      table("Sizes", [
        ["Type", (row) => row.type, (type) => make("span", {}, make("span", { class: "swatch", style: { background: typeColour(type) } }), type), "text"],
        ["What", (row) => row.what, null, "text"], ["Spread", () => 0, (_, row) => spark(row.histogram), "bare"],
        ["Mean", ...of((h) => h.sum / h.count)], ["Median", ...of((h) => h.p50)], ["p90", ...of((h) => h.p90)], ["p99", ...of((h) => h.p99)], ["Greatest", ...of((h) => h.greatest)],
      ], rows, { fixed: true }));
  };

  const slotsSection = () => {
    const side = 128, heat = data.slot_heat;
    if (heat.keys.length === 0) return;
    const slots = new Map();
    let slot = -1;
    heat.steps.forEach((step, at) => { slot += step; slots.set(slot, [heat.keys[at], heat.memory[at]]); });
    const canvas = make("canvas", { width: side, height: side, tabindex: "0", role: "img", "aria-label": `Heat of the 16384 hash slots, ${number(data.slots.used)} of them used. Arrow keys read slot by slot.` });
    const live = make("p", { class: "live", "aria-live": "polite" }, "Point at a slot, or use the arrow keys.");
    const scale = make("i");
    const low = make("span"), high = make("span");
    let measure = 1, cursor = 0;
    // From pale to deep, readable without red and green.
    const stops = { light: [[222, 232, 243], [120, 178, 214], [33, 113, 181], [12, 44, 94]], dark: [[34, 48, 62], [38, 92, 140], [86, 164, 214], [224, 244, 255]] };
    const tone = (share) => {
      const list = stops[root.dataset.theme], place = share * (list.length - 1), at = Math.min(Math.floor(place), list.length - 2), part = place - at;
      return list[at].map((value, i) => Math.round(value + (list[at + 1][i] - value) * part));
    };
    const paint = () => {
      const values = [...slots.values()].map((pair) => pair[measure]), most = Math.max(...values), least = Math.min(...values);
      const context = canvas.getContext("2d"), image = context.createImageData(side, side);
      const place = (value) => (most === least ? 0.5 : (Math.log(value) - Math.log(least)) / (Math.log(most) - Math.log(least)));
      for (const [at, pair] of slots) image.data.set([...tone(Math.max(0, place(Math.max(pair[measure], 1)))), 255], 4 * at);
      context.putImageData(image, 0, 0);
      const show = measure === 1 ? bytes : number;
      low.textContent = show(least); high.textContent = show(most);
      scale.style.background = `linear-gradient(90deg, ${[0, .33, .66, 1].map((part) => `rgb(${tone(part).join(" ")})`).join(", ")})`;
    };
    const tell = (at) => {
      cursor = Math.min(Math.max(at, 0), side * side - 1);
      const [keys, memory] = slots.get(cursor) ?? [0, 0];
      live.textContent = `Slot ${cursor}: ${number(keys)} keys, ${bytes(memory)}`;
      return [`${number(keys)} keys`, bytes(memory)];
    };
    canvas.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect();
      const x = Math.floor((event.clientX - box.left) / box.width * side), y = Math.floor((event.clientY - box.top) / box.height * side);
      if (x >= 0 && x < side && y >= 0 && y < side) tipAt(event.clientX, event.clientY, "Slot " + (y * side + x), tell(y * side + x));
    });
    canvas.addEventListener("pointerleave", noTip);
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: side, ArrowUp: -side }[event.key];
      if (step) { event.preventDefault(); tell(cursor + step); }
    });
    paint();
    repaint.push(paint);
    const nodes = data.slots.nodes, most = Math.max(...nodes.map((node) => node.memory), 1);
    section("slots", "Hash slots", `One square is one of 16384 slots, row by row; ${number(data.slots.used)} have keys. The nodes share the slots evenly, in order.`,
      make("div", { class: "heat" },
        make("div", {}, make("div", { class: "tools" }, choice("What to show", ["Memory", "Keys"], (at) => { measure = 1 - at; paint(); })), canvas, make("div", { class: "scale" }, low, scale, high), live),
        make("div", {},
          table("Nodes", [
            ["Node", (row) => row.first, (_, row) => `${row.first}\u2013${row.last}`, "text"], ["Keys", (row) => row.keys, number], ["Memory", (row) => row.memory, (value) => bytes(value)],
            ["Share", (row) => row.memory, (value) => share(value, whole)], ["", () => 0, (_, row) => bar(row.memory, most, "var(--c6)"), "bare"],
          ], nodes.slice(0, 64), { by: 0 }),
          make("h3", {}, "Hottest slots"),
          table("Hottest slots", [["Slot", (row) => row.slot, String, "text"], ["Keys", (row) => row.keys, number], ["Memory", (row) => row.memory, (value) => bytes(value)], ["Share", (row) => row.memory, (value) => share(value, whole)]], data.slots.hottest.slice(0, 10), { by: 2 }))));
  };

  const repaint = [];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let theme = 0;
  const applyTheme = () => {
    root.dataset.theme = theme === 0 ? (dark.matches ? "dark" : "light") : ["", "light", "dark"][theme];
    repaint.forEach((paint) => paint());
  };
  dark.addEventListener("change", applyTheme);
  document.getElementById("theme").replaceWith(Object.assign(choice("Colours", ["Auto", "Light", "Dark"], (at) => { theme = at; applyTheme(); }), { className: "seg theme" }));
  applyTheme();
  head();
  memorySection();
  groups();
  flame();
  biggest();
  spans();
  sizes();
  slotsSection();
  document.getElementById("foot").textContent = "Counts, sums, greatest keys and slots are exact; memory is the estimate of a model, whose measured errors are in the README of rdb-tools. This file is complete in itself and loads nothing.";
})();
