-- What every script finds: the globals, behind tables that cannot be written to.
--
-- Runs once in each interpreter, before any script. Its functions stand between scripts and those of the
-- standard library that would let them change what other scripts see, outlive their time, or run the
-- process out of stack. They raise their errors at level 2: where the script called them. What a script
-- often calls last is native instead: a call in that place takes the script's own place on the stack.
local native, globals, cell, server, maths_extra, libraries, library_server = ...

local READONLY = 'Attempt to modify a readonly table'

local type, error, tostring, tonumber = type, error, tostring, tonumber
local getmetatable, setmetatable, rawget, rawset, next = getmetatable, setmetatable, rawget, rawset, next
local pcall, xpcall = pcall, xpcall
local unpack, count = unpack, select
local match, find, gmatch, gsub = string.match, string.find, string.gmatch, string.gsub
local insert, concat = table.insert, table.concat

-- Tables that look like others and refuse to be changed, and what stands behind each.
local behind = {}

local function lock(real, metatable)
    local front = {}
    behind[front] = real
    setmetatable(front, {
        __index = real,
        __newindex = function() error(READONLY, 2) end,
        __metatable = metatable or false,
    })
    return front
end

local function bad_argument(position, name, expected, value)
    error("bad argument #" .. position .. " to '" .. name .. "' (" .. expected .. " expected, got " ..
        type(value) .. ")", 3)
end

-- Errors of native functions reach scripts as the text or the table that they stand for. Where a script is
-- to end, its end is all that there is: it is raised again.
local plain = native.plain

-- Once a script is to end, nothing that catches errors keeps it alive.
local function caught(ok, ...)
    if ok then return true, ... end
    local problem = plain((...))
    if type(problem) == 'table' then
        local text = problem.err
        if type(text) == 'string' or type(text) == 'number' then return false, text end
    end
    return false, problem
end

local function resumed(ok, ...)
    if ok then return true, ... end
    return false, plain((...))
end

local base = {
    assert = assert, collectgarbage = collectgarbage, error = error, gcinfo = gcinfo, ipairs = ipairs,
    rawequal = rawequal, select = select, tonumber = tonumber, tostring = tostring, type = type,
    _VERSION = _VERSION,
}

function base.pcall(...)
    return caught(pcall(...))
end

-- Nothing ends a handler that runs because a script is to end.
function base.xpcall(f, handler)
    return resumed(xpcall(f, function(problem)
        if native.is_over() then return problem end
        return handler(plain(problem))
    end))
end

function base.getmetatable(value)
    if behind[value] then
        local locked = getmetatable(value)
        return locked or nil
    end
    if type(value) == 'string' then return cell.string_metatable end
    return getmetatable(value)
end

function base.setmetatable(t, ...)
    local metatable = ...
    if type(t) ~= 'table' then bad_argument(1, 'setmetatable', 'table', t) end
    if behind[t] then error(READONLY, 0) end
    if type(metatable) ~= 'table' and (metatable ~= nil or count('#', ...) == 0) then
        error("bad argument #2 to 'setmetatable' (nil or table expected)", 2)
    end
    -- What a protected one shows in its place may be anything.
    local old = getmetatable(t)
    if old ~= nil and (type(old) ~= 'table' or rawget(old, '__metatable') ~= nil) then
        error('cannot change a protected metatable', 2)
    end
    return setmetatable(t, metatable)
end

function base.rawget(t, key)
    if type(t) ~= 'table' then bad_argument(1, 'rawget', 'table', t) end
    return rawget(behind[t] or t, key)
end

function base.rawset(t, key, value)
    if type(t) ~= 'table' then bad_argument(1, 'rawset', 'table', t) end
    if behind[t] then error(READONLY, 0) end
    if key == nil then error('table index is nil', 2) end
    return rawset(t, key, value)
end

local function next_behind(t, key)
    return next(behind[t], key)
end

function base.next(t, key)
    if type(t) ~= 'table' then bad_argument(1, 'next', 'table', t) end
    return next(behind[t] or t, key)
end

function base.pairs(t)
    if type(t) ~= 'table' then bad_argument(1, 'pairs', 'table', t) end
    if behind[t] then return next_behind, t, nil end
    return next, t, nil
end

-- The interpreter counts results in 32 bits.
local MOST_RESULTS = 7997

function base.unpack(t, i, j)
    if type(t) ~= 'table' then bad_argument(1, 'unpack', 'table', t) end
    local first, last = 1, #t
    if i ~= nil then first = tonumber(i) or bad_argument(2, 'unpack', 'number', i) end
    if j ~= nil then last = tonumber(j) or bad_argument(3, 'unpack', 'number', j) end
    if first ~= first or first < -2147483648 or first > 2147483647 or last ~= last or last < -2147483648 or
        last > 2147483647 then
        error('too many results to unpack', 2)
    end
    local most = i == nil and j == nil and MOST_RESULTS + 2 or MOST_RESULTS
    if last - first + 1 > most then error('too many results to unpack', 2) end
    if i == nil and j == nil then return unpack(t) end
    return unpack(t, first, last)
end

-- A chunk is read to its end before any of it is compiled.
function base.load(reader, name)
    if type(reader) ~= 'function' then bad_argument(1, 'load', 'function', reader) end
    local pieces = {}
    while true do
        local piece = reader()
        if piece == nil or piece == '' then break end
        if type(piece) ~= 'string' then error('reader function must return a string', 2) end
        insert(pieces, piece)
    end
    return native.compile(concat(pieces), type(name) == 'string' and name or '=(load)')
end

local coroutines = {
    create = coroutine.create, running = coroutine.running, status = coroutine.status, yield = coroutine.yield,
}
local create, resume = coroutine.create, coroutine.resume

-- Each coroutine that runs another takes a piece of the process's stack, which the interpreter does not count.
function coroutines.resume(co, ...)
    if type(co) ~= 'thread' then error("bad argument #1 to 'resume' (coroutine expected)", 2) end
    if native.is_deep() then return false, 'C stack overflow' end
    return resumed(resume(co, ...))
end

local function unwrapped(ok, ...)
    if ok then return ... end
    error(plain((...)), 0)
end

function coroutines.wrap(f)
    if type(f) ~= 'function' then bad_argument(1, 'wrap', 'Lua function', f) end
    local co = create(f)
    return function(...)
        if native.is_deep() then error('C stack overflow', 2) end
        return unwrapped(resume(co, ...))
    end
end

local strings = {}
for name, value in next, string do strings[name] = value end
strings.gfind = nil

-- Matching calls itself for each part of a pattern that may match more or less.
local LONG_PATTERN = 1000

local function check_pattern(pattern)
    if native.is_complex(pattern) then error('pattern too complex', 3) end
end

function strings.find(s, pattern, init, plainly)
    if type(s) ~= 'string' or type(pattern) ~= 'string' then
        local kind = type(s)
        if kind ~= 'string' and kind ~= 'number' then bad_argument(1, 'find', 'string', s) end
        kind = type(pattern)
        if kind ~= 'string' and kind ~= 'number' then bad_argument(2, 'find', 'string', pattern) end
    elseif #pattern > LONG_PATTERN and not plainly then
        check_pattern(pattern)
    end
    return find(s, pattern, init, plainly)
end

local function guarded(name, raw)
    return function(s, pattern, ...)
        if type(s) ~= 'string' or type(pattern) ~= 'string' then
            local kind = type(s)
            if kind ~= 'string' and kind ~= 'number' then bad_argument(1, name, 'string', s) end
            kind = type(pattern)
            if kind ~= 'string' and kind ~= 'number' then bad_argument(2, name, 'string', pattern) end
        elseif #pattern > LONG_PATTERN then
            check_pattern(pattern)
        end
        return raw(s, pattern, ...)
    end
end

strings.match = guarded('match', match)
strings.gmatch = guarded('gmatch', gmatch)
strings.gfind = strings.gmatch

local guarded_gsub = guarded('gsub', gsub)
function strings.gsub(s, pattern, replacement, ...)
    local kind = type(replacement)
    if kind ~= 'string' and kind ~= 'number' and kind ~= 'table' and kind ~= 'function' then
        error("bad argument #3 to 'gsub' (string/function/table expected)", 2)
    end
    return guarded_gsub(s, pattern, replacement, ...)
end

local tables = {}
for name, value in next, table do tables[name] = value end

function tables.insert(t, ...)
    if type(t) ~= 'table' then bad_argument(1, 'insert', 'table', t) end
    if behind[t] then error(READONLY, 0) end
    local words = count('#', ...)
    if words ~= 1 then
        if words ~= 2 then error("wrong number of arguments to 'insert'", 2) end
        local at = ...
        if not tonumber(at) then bad_argument(2, 'insert', 'number', at) end
    end
    return insert(t, ...)
end

local maths = {}
for name, value in next, math do maths[name] = value end
for name, value in next, maths_extra do maths[name] = value end

libraries.string, libraries.table, libraries.math, libraries.coroutine = strings, tables, maths, coroutines
libraries.os = { clock = os.clock }
strings.rep, base.loadstring = native.rep, native.loadstring

for name, value in next, base do rawset(globals, name, value) end
for name, value in next, libraries do rawset(globals, name, lock(value)) end
local locked = lock(server)
rawset(globals, 'server', locked)
rawset(globals, 'redis', locked)
if not library_server then
    rawset(globals, '__server__err__handler', native.handler)
    rawset(globals, '__redis__err__handler', native.handler)
end

local strict = {
    __index = function(_, name)
        local kind = type(name)
        if kind ~= 'string' and kind ~= 'number' then
            error('Second argument to luaProtectedTableError must be a string or number', 2)
        end
        error("Script attempted to access nonexistent global variable '" .. match(tostring(name), '^[^%z]*') .. "'", 2)
    end,
}
setmetatable(globals, strict)
local env = lock(globals, lock({}))
rawset(globals, '_G', env)

local string_metatable = getmetatable('')
string_metatable.__index = strings
string_metatable.__metatable = false
cell.string_metatable = lock({ __index = globals.string })

if not library_server then
    -- Runs a script: whether it ended well, and its result or what was wrong, with its place.
    local function run(f)
        return xpcall(f, native.handler)
    end

    return env, run, pcall
end

-- A library finds little while it is loaded, and its functions find everything when they run. Both look at
-- the same table, behind which the one or the other stands.
local locked_server = lock(setmetatable(library_server, strict))
local library_globals = setmetatable({ server = locked_server, redis = locked_server }, strict)
local library_view = {
    __index = globals,
    __newindex = function() error(READONLY, 2) end,
    __metatable = lock({}),
}
local library_env = setmetatable({}, library_view)

-- Runs the code of a library: whether it ended well, or what was wrong.
local function load(code)
    library_view.__index = library_globals
    local ok, problem = pcall(code)
    library_view.__index = globals
    return ok, problem
end

-- Runs a function of a library, as a script is run. Its result is one value.
local function run_function(f, keys, args)
    return xpcall(function()
        local result = f(keys, args)
        return result
    end, native.handler)
end

return library_env, run_function, load
