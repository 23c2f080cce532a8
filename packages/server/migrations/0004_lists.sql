-- What lists are ordered by where they are long: the newest events of all, and of one stack.
create index events_newest on events (at desc, id desc);
create index events_stack_newest on events (stack, at desc, id desc) where stack is not null;
-- Served lists of events in the order of transactions; nothing reads by it any more.
drop index events_stack;
-- `events_newest` does the same.
drop index events_at;
