-- A local cluster belongs to one node: the home folder whose edge and processes it is. Only that node's server takes its due rows.
-- minimum program: 0.1.0

-- Without a node: of an installation that was made before nodes had names. The first server to come takes it.
alter table clusters add column node_id uuid;
-- The machine's name, for people.
alter table clusters add column node_host text;
-- When the node's server last said that it is there.
alter table clusters add column seen_at timestamptz(3);
