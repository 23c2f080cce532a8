-- What a stack may use in all: cores, bytes of memory and instances that its components ask for together.

-- Null, or a limit that it does not name: no limit.
alter table stacks add column quota jsonb;
