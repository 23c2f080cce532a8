-- Certificates that Berth gets by itself from an ACME authority (RFC 8555), and what is under way for those that it has not got yet.

-- The cluster whose server got it and renews it; null: an operator gave it.
alter table certificates add column kept_by text;

-- One for each server, since each seals with keys of its own.
create table acme_accounts (
  cluster text not null,
  directory text not null,
  -- The account's key, sealed like a secret.
  ciphertext text not null,
  -- What the authority calls the account; null until it has answered.
  url text,
  contact text not null default '',
  created_at timestamptz(3) not null default now(),
  primary key (cluster, directory)
);

create table automatic_certificates (
  host text primary key,
  cluster text not null,
  -- As its cluster's server last saw it; a row that is wanted no more stays while its certificate is good.
  wanted boolean not null default true,
  phase text not null default 'waiting' check (phase in ('waiting', 'ordering', 'proving', 'issuing', 'issued')),
  -- What is under way at the authority: where it is asked for, what proves the host, and the sealed key of the certificate to be.
  directory text,
  order_url text,
  challenge jsonb,
  ciphertext text,
  -- Since the last success: every request for a certificate counts before it is sent, so that a crash cannot hide one from the authority's limits.
  attempts integer not null default 0,
  failures integer not null default 0,
  ordered_at timestamptz(3),
  next_at timestamptz(3),
  cause jsonb,
  failed_at timestamptz(3),
  certificate text,
  issued_at timestamptz(3),
  renew_at timestamptz(3),
  created_at timestamptz(3) not null default now()
);
create index automatic_certificates_ordered on automatic_certificates (ordered_at) where ordered_at is not null;
