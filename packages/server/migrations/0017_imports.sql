-- A stack that was imported lives in the namespace that its objects were found in. Null: in one that Berth makes for it. Older programs know stacks of the latter kind only:
-- they leave the column as it is, and look for an imported stack in a namespace that is not there.
alter table stacks add column namespace text;
create unique index stacks_by_namespace on stacks (cluster_id, namespace) where namespace is not null;
