-- Sets the value of KEYS[1], if its version is ARGV[1], to ARGV[2].
-- Returns whether it has, the version, and the value if it has not.
local is = redis.call('HMGET', KEYS[1], 'version', 'value')
local version = is[2] and is[1] or '0' -- without a value it is deleted
if version ~= ARGV[1] then
	return {0, version, is[2]}
end
version = string.format('%.0f', (tonumber(is[1]) or 0) + 1)
redis.call('HSET', KEYS[1], 'version', version, 'value', ARGV[2])
if is[1] and not is[2] then
	redis.call('PERSIST', KEYS[1])
end
redis.call('PUBLISH', KEYS[1], version .. ' ' .. ARGV[2])
return {1, version, ''}
