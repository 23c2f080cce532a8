-- Registries of images: who may pull and push there, what Berth has pushed, and where a build's image is fetched from.

create table registries (
  -- As it begins the names of images: `registry.example:5000`; `default` for names that begin with none.
  host text primary key,
  username text not null,
  -- The password, sealed like a secret.
  ciphertext text not null,
  plain_http boolean not null,
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  updated_by text not null
);

-- What is fetched, by its digest; null: it is where it was built. A succeeded build without an artifact is one whose image was removed because nothing needed it.
alter table builds add column artifact_reference text;

-- The only images that Berth may delete in a registry.
create table pushed_images (
  -- `registry.example:5000/berth/shop/web`
  repository text not null,
  digest text not null,
  pushed_at timestamptz(3) not null default now(),
  -- Since when it is known that the registry deletes nothing.
  refused_at timestamptz(3),
  primary key (repository, digest)
);
