-- What is in the artifact of a build, and where it comes from: two documents in the blob store; and the manifests of a registry that hold them beside the image.

alter table builds add column sbom_digest text;
alter table builds add column provenance_digest text;
-- What is still to be attested, which is done once the build is told as succeeded; null: nothing is.
alter table builds add column attesting jsonb;

-- The image that it refers to: it goes with that one.
alter table pushed_images add column subject text;
