-- Certificates that HTTPS is served with, for the whole installation.

create table certificates (
  name text primary key,
  chain text not null,
  -- The key, sealed like a secret.
  ciphertext text not null,
  subject text not null,
  issuer text not null,
  hosts text[] not null,
  not_before timestamptz(3) not null,
  not_after timestamptz(3) not null,
  fingerprint text not null,
  chain_length integer not null,
  self_signed boolean not null,
  is_default boolean not null default false,
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  updated_by text not null
);
create unique index certificates_one_default on certificates (is_default) where is_default;
