-- Registries that say when an image was pushed, and components that follow the tag of theirs.

create table webhooks (
  name text primary key,
  -- Of which registry it speaks: `registry.example:5000`, or `default`.
  registry text not null,
  -- Its secret, sealed: a signature is checked with the secret itself, so that a hash would not do.
  ciphertext text not null,
  created_at timestamptz(3) not null default now(),
  created_by text not null,
  notified_at timestamptz(3)
);

-- One for each component that somebody asked to be looked at.
create table image_looks (
  component_id uuid primary key references components (id) on delete cascade,
  asked_by text not null,
  -- How often it was asked for, and how often when it was looked at last: one that is asked for during a look is looked at again.
  asked bigint not null default 1,
  looked bigint not null default 0,
  asked_at timestamptz(3) not null default now(),
  looked_at timestamptz(3),
  failures integer not null default 0,
  cause jsonb
);
create index components_that_follow on components (stack_id) where (spec ->> 'follow') = 'true';

-- What the image's name was found to stand for when the rollout was accepted; null: it is asked when the release is made.
alter table rollouts add column image_reference text;
