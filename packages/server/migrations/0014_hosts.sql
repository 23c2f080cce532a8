-- Docker hosts elsewhere, each a cluster that the node drives over the network.

-- Where its daemon listens and what its edge is told; null: the machine of the node itself.
alter table clusters add column host jsonb;
-- What the daemon asks for (TLS), sealed like a secret.
alter table clusters add column host_ciphertext text;
-- Where components without a host of their own are reached: `<component>.<stack>.<domain>`.
alter table clusters add column domain text not null default 'localhost';
-- Since when it takes no new stacks.
alter table clusters add column draining_since timestamptz(3);
-- The row stays, since what was on it stays in the history.
alter table clusters add column removed_at timestamptz(3);
