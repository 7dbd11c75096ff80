-- Deletes KEYS[1], if its version is ARGV[1]; the version is kept for ARGV[2] ms.
-- Returns as put.lua does.
local is = redis.call('HMGET', KEYS[1], 'version', 'value')
local version = is[2] and is[1] or '0'
if version ~= ARGV[1] then
	return {0, version, is[2]}
end
if is[2] then
	redis.call('HDEL', KEYS[1], 'value')
	redis.call('PEXPIRE', KEYS[1], ARGV[2])
	redis.call('PUBLISH', KEYS[1], '0 ')
end
return {1, 0, false}
