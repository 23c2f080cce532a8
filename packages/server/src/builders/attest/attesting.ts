// A builder whose artifacts come with two documents: what is in them (SPDX), and where they come from (SLSA). Builds by another one, whoever that is, and looks
// at what came of it. Both are kept in the blob store; beside an image that was pushed they lie in its registry, too (decision 33).
import { Readable } from "node:stream";
import { basename } from "node:path";
import { provenance, spdxType, statementOf, type ProvenanceOf, type Statement, type Subject } from "../../core/attest/provenance.ts";
import { spdxDocument } from "../../core/attest/spdx.ts";
import type { SoftwarePackage } from "../../core/attest/package.ts";
import { repositoryOf } from "../../core/image/reference.ts";
import { createMask, type Mask } from "../../core/mask.ts";
import type { Attestations, BlobReader, BlobWriter, Builder, BuildOutcome, BuildRequest } from "../builder.ts";
import type { BuiltFacts } from "../../core/attest/built.ts";
import type { ImageContents } from "./imagefiles.ts";
import { readSourcePackages } from "./sourcefiles.ts";

export interface AttestingDeps {
  readonly blobs: BlobReader & BlobWriter;
  readonly installation: string;
  /** Berth's own. */
  readonly version: string;
  readonly builder: ProvenanceOf["builder"];
  /** Absent where there is no image to look into. */
  readonly contents?: (image: string, build: string, signal: AbortSignal) => Promise<ImageContents>;
  /** Puts statements beside an image in its registry; answers the digests of the manifests that it made there, or why it could not. */
  readonly publish?: (reference: string, statements: readonly Statement[], signal: AbortSignal) => Promise<Published>;
}

export type Published = { readonly ok: true; readonly digests: readonly string[] } | { readonly ok: false; readonly reason: string };

type Built = Extract<BuildOutcome, { ok: true }>;

/** May be asked again for the same build after a crash: it says the same. */
export function attesting(builder: Builder, deps: AttestingDeps): Builder {
  async function attest(request: BuildRequest, { outcome, startedAt, endedAt }: BuiltFacts, signal: AbortSignal): Promise<Attestations> {
    const times = { startedAt: new Date(startedAt), endedAt: new Date(endedAt) };
    const notes: string[] = [];
    const { plan } = request;
    const mask = createMask([...request.secretValues, ...Object.values(request.secrets ?? {})]);
    const say = (text: string): void => {
      notes.push(mask(text));
    };
    const image = outcome.image ?? outcome.digest;
    const contents = await deps.contents?.(image, request.id, signal);
    const source = await readSourcePackages(deps.blobs, { digest: request.sourceDigest, root: plan.root }, signal);
    const subject: Subject = {
      kind: builder.kind === "image" ? "image" : "bundle",
      name:
        outcome.reference === undefined
          ? `${request.stackName}/${plan.root === "." ? "source" : basename(plan.root)}`
          : repositoryOf(outcome.reference),
      digest: outcome.digest,
    };
    const bases = outcome.bases ?? [];
    const tools = outcome.tools.filter(({ phase }) => phase !== "build").map(toolPackage);
    const unread = [...(contents?.unread ?? []), ...source.unread];
    for (const one of unread) say(`Not in the bill of materials: ${one}.`);
    const bill = spdxDocument({
      subject,
      build: request.id,
      created: times.endedAt,
      version: deps.version,
      os: contents?.os,
      packages: [...(contents?.packages ?? []), ...source.packages, ...tools],
      bases,
      unread,
    });
    const origin = provenance({
      ...times,
      subject,
      build: request.id,
      installation: deps.installation,
      version: deps.version,
      builder: deps.builder,
      source: { digest: request.sourceDigest, ...(request.origin === undefined ? {} : { origin: request.origin }) },
      plan,
      args: Object.keys(request.env),
      secrets: Object.keys(request.secrets ?? {}),
      bases,
      tools: outcome.tools,
    });
    // Whatever somebody wrote a secret into: a command, a folder's name.
    const masked = { bill: withoutSecrets(bill, mask), origin: withoutSecrets(origin, mask) };
    const sbom = await keep(masked.bill, signal);
    const from = await keep(masked.origin, signal);
    const beside = await publish(outcome, [statementOf(subject, spdxType, masked.bill), masked.origin], say, signal);
    return { sbom, provenance: from, beside, notes };
  }

  /** A registry that takes images and not these leaves them to Berth alone: that is no failure of the build. */
  async function publish(
    { reference }: Built,
    statements: readonly Statement[],
    say: (text: string) => void,
    signal: AbortSignal,
  ): Promise<string[]> {
    if (reference === undefined || deps.publish === undefined) return [];
    const published = await deps.publish(reference, statements, signal);
    if (published.ok) return published.digests.map((digest) => `${repositoryOf(reference)}@${digest}`);
    say(`The attestations are kept with the build, and could not be put beside the image in its registry: ${published.reason}`);
    return [];
  }

  const keep = async (document: unknown, signal: AbortSignal): Promise<string> =>
    (await deps.blobs.put(Readable.from([Buffer.from(JSON.stringify(document))]), {}, signal)).digest;

  return { ...builder, attest };
}

const toolPackage = ({ name, version }: { readonly name: string; readonly version: string }): SoftwarePackage => ({
  ecosystem: "generic",
  name,
  version,
  from: "a tool of the build plan",
});

function withoutSecrets<T>(value: T, mask: Mask): T {
  if (mask.longest === 0) return value;
  const masked = (one: unknown): unknown => {
    if (typeof one === "string") return mask(one);
    if (Array.isArray(one)) return one.map(masked);
    if (typeof one !== "object" || one === null) return one;
    return Object.fromEntries(Object.entries(one).map(([key, item]) => [mask(key), masked(item)]));
  };
  return masked(value) as T;
}
