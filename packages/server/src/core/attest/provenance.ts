// Where an artifact comes from, as a SLSA v1 predicate in an in-toto statement. Pure. No value of a secret, and none of a build argument or of the environment
// is a part of it: people put secrets there.
// https://slsa.dev/spec/v1.0/provenance; https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
import type { BuildPlan } from "@berth/contract/buildplan.ts";
import { contentHash } from "../canonical.ts";

export interface Subject {
  readonly kind: "image" | "bundle";
  readonly name: string;
  /** `sha256:...`, the artifact of the releases that are made of it. */
  readonly digest: string;
}

/** An image that a build stands on, or took something from. */
export interface BaseImage {
  /** As the build names it. */
  readonly name: string;
  /** A package URL, where there is one. */
  readonly uri: string;
  readonly digest: string;
  /** What the digest is of: one that was never in a registry has only an image's id. */
  readonly of: "manifest" | "image";
}

export interface ProvenanceOf {
  readonly subject: Subject;
  readonly build: string;
  readonly installation: string;
  readonly version: string;
  readonly builder: "host" | "docker" | "buildkit" | "buildah";
  readonly source: { readonly digest: string; readonly origin?: { readonly url: string; readonly revision: string } };
  readonly plan: BuildPlan;
  /** Names alone. */
  readonly args: readonly string[];
  readonly secrets: readonly string[];
  readonly bases: readonly BaseImage[];
  readonly tools: readonly { readonly name: string; readonly version: string }[];
  readonly startedAt: Date;
  readonly endedAt: Date;
}

/** What this kind of build is told by: docs/guide/attestations.md describes it. */
export const buildType = "urn:berth:build:v1";
export const provenanceType = "https://slsa.dev/provenance/v1";
export const spdxType = "https://spdx.dev/Document";

/** An in-toto statement about an artifact. */
export interface Statement {
  readonly _type: "https://in-toto.io/Statement/v1";
  readonly subject: readonly { readonly name: string; readonly digest: { readonly sha256: string } }[];
  readonly predicateType: string;
  readonly predicate: unknown;
}

const sha256 = (digest: string): { readonly sha256: string } => ({ sha256: digest.replace(/^sha256:/, "") });

export function statementOf(subject: Subject, predicateType: string, predicate: unknown): Statement {
  return {
    _type: "https://in-toto.io/Statement/v1",
    subject: [{ name: subject.name, digest: sha256(subject.digest) }],
    predicateType,
    predicate,
  };
}

export function provenance(of: ProvenanceOf): Statement {
  const { plan, source } = of;
  return statementOf(of.subject, provenanceType, {
    buildDefinition: {
      buildType,
      externalParameters: {
        source: source.digest,
        ...(source.origin === undefined ? {} : { repository: publicUrl(source.origin.url), revision: source.origin.revision }),
        root: plan.root,
        ...(plan.kind === "dockerfile" ? { dockerfile: plan.dockerfile ?? "Dockerfile" } : {}),
        ...(plan.target === undefined ? {} : { target: plan.target }),
        args: [...of.args].sort(),
        secrets: [...of.secrets].sort(),
      },
      internalParameters: {
        // Of the whole plan, as the image's label `berth.plan` has it.
        planDigest: contentHash(plan),
        plan: {
          kind: plan.kind,
          tools: plan.tools.map(({ name, wanted, phase }) => ({ name, wanted, phase })),
          steps: plan.steps.map(({ name, command, inputs, outputs, network }) => ({ name, command, inputs, outputs, network })),
          processes: Object.fromEntries(Object.entries(plan.processes).map(([name, { command }]) => [name, command])),
        },
      },
      resolvedDependencies: [
        { name: "source", uri: `urn:berth:source:${source.digest}`, digest: sha256(source.digest) },
        ...(source.origin === undefined ? [] : [commitOf(source.origin)]),
        ...of.bases.map((base) => ({
          name: base.name,
          ...(base.uri === "" ? {} : { uri: base.uri }),
          digest: sha256(base.digest),
          annotations: { digestOf: base.of },
        })),
        ...of.tools.map(({ name, version }) => ({ name, uri: `pkg:generic/${encodeURIComponent(name)}@${encodeURIComponent(version)}` })),
      ],
    },
    runDetails: {
      builder: { id: `urn:berth:builder:${of.builder}:${of.installation}`, version: { berth: of.version } },
      metadata: {
        invocationId: `urn:berth:build:${of.build}`,
        startedOn: of.startedAt.toISOString(),
        finishedOn: of.endedAt.toISOString(),
      },
    },
  });
}

function commitOf({ url, revision }: { readonly url: string; readonly revision: string }) {
  const digest = /^[0-9a-f]{40}$/.test(revision) ? { digest: { gitCommit: revision } } : {};
  return { name: "repository", uri: `git+${publicUrl(url)}@${revision}`, ...digest };
}

/** Without a name or a password of who fetches it. */
function publicUrl(url: string): string {
  if (!URL.canParse(url)) return url.replace(/^[^@/]*:[^@/]*@/, "");
  const parsed = new URL(url);
  if (parsed.protocol !== "ssh:") parsed.username = "";
  parsed.password = "";
  parsed.search = "";
  return parsed.href;
}
