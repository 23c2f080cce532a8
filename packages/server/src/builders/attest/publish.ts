// Puts statements beside an image in its registry, as a manifest that refers to it. The image itself, and its digest, stay as they are.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests-with-subject
import { createHash } from "node:crypto";
import type { Statement } from "../../core/attest/provenance.ts";
import { digestOf, repositoryOf } from "../../core/image/reference.ts";
import { RegistryRefused, RegistryUnreachable, type RegistryClient } from "../../docker/registry-client.ts";
import type { Published } from "./attesting.ts";

const manifestType = "application/vnd.oci.image.manifest.v1+json";
const indexType = "application/vnd.oci.image.index.v1+json";
export const statementType = "application/vnd.in-toto+json";
const emptyType = "application/vnd.oci.empty.v1+json";

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** `reference`: the image with its digest. What a registry refuses, or does not answer, is an outcome; rejects with the signal's reason. */
export async function publishStatements(
  client: RegistryClient,
  reference: string,
  statements: readonly Statement[],
  signal: AbortSignal,
): Promise<Published> {
  const name = repositoryOf(reference);
  const repository = name.slice(name.indexOf("/") + 1);
  try {
    const { content: image, type: imageType } = await client.manifest(repository, digestOf(reference) ?? "", signal);
    const subject: Descriptor = { mediaType: imageType, digest: digestOf(reference) ?? "", size: image.length };
    const config = await blob(Buffer.from("{}"), emptyType);
    const layers: Descriptor[] = [];
    for (const statement of statements) {
      const layer = await blob(Buffer.from(JSON.stringify(statement)), statementType);
      layers.push({ ...layer, annotations: { "in-toto.io/predicate-type": statement.predicateType } });
    }
    const manifest = encoded({ schemaVersion: 2, mediaType: manifestType, artifactType: statementType, config, layers, subject });
    const { knowsSubject } = await client.putManifest(repository, manifest.digest, { type: manifestType, ...manifest }, signal);
    if (knowsSubject) return { ok: true, digests: [manifest.digest] };
    // The registry keeps no list of what refers to an image: it is a tag then, which clients look for.
    const tag = subject.digest.replace(":", "-");
    const entry: Descriptor = {
      mediaType: manifestType,
      digest: manifest.digest,
      size: manifest.content.length,
      artifactType: statementType,
    };
    const others = (await listed(repository, tag)).filter(({ digest }) => digest !== manifest.digest);
    const index = encoded({ schemaVersion: 2, mediaType: indexType, manifests: [...others, entry] });
    await client.putManifest(repository, tag, { type: indexType, ...index }, signal);
    return { ok: true, digests: [manifest.digest, index.digest] };
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof RegistryRefused || error instanceof RegistryUnreachable) return { ok: false, reason: error.message };
    throw error;
  }

  async function blob(content: Buffer, mediaType: string): Promise<Descriptor> {
    const digest = hashOf(content);
    await client.putBlob(repository, digest, content, signal);
    return { mediaType, digest, size: content.length };
  }

  async function listed(of: string, tag: string): Promise<Descriptor[]> {
    try {
      const { content } = await client.manifest(of, tag, signal);
      const { manifests } = JSON.parse(content.toString()) as { manifests?: Descriptor[] };
      return Array.isArray(manifests) ? manifests : [];
    } catch (error) {
      if (error instanceof RegistryRefused && error.status === 404) return [];
      throw error;
    }
  }
}

const hashOf = (content: Buffer): string => `sha256:${createHash("sha256").update(content).digest("hex")}`;

function encoded(manifest: object): { readonly content: Buffer; readonly digest: string } {
  const content = Buffer.from(JSON.stringify(manifest));
  return { content, digest: hashOf(content) };
}
