// What is kept with every instance so that its release can be put together again when the database is lost (promise 7): its content, where it came
// from, and the config that its component would have next. Secret values are not in it; they are in the instance's environment.
import { StackDrift } from "@berth/contract/resources/drift.ts";
import { Type, type Static } from "typebox";
import { Value } from "typebox/value";
import { BuildPlan } from "@berth/contract/buildplan.ts";
import { Digest, Instant } from "@berth/contract/names.ts";
import { Command, ComponentSpec } from "@berth/contract/spec.ts";
import { releaseHash, type ReleaseContent } from "./release.ts";

const Texts = Type.Record(Type.String(), Type.String());
const Config = Type.Object({ number: Type.Integer(), values: Texts });
const Maybe = <T extends Parameters<typeof Type.Union>[0][number]>(schema: T) => Type.Union([schema, Type.Null()]);

export const ReleaseRecord = Type.Object(
  {
    version: Type.Literal(1),
    team: Type.String(),
    runEnv: Type.String(),
    /** The stack's own cluster, with what runs in another one; absent: it runs there. */
    home: Type.Optional(Type.String()),
    /** Absent: it says nothing. */
    drift: Type.Optional(StackDrift),
    release: Type.Object({ reason: Type.String(), createdBy: Type.String(), createdAt: Instant }),
    content: Type.Object({
      artifactDigest: Digest,
      config: Texts,
      secretRefs: Type.Record(Type.String(), Type.Object({ secret: Type.String(), version: Type.Integer() })),
      spec: ComponentSpec,
      runtime: Type.Object({
        // An image may start as it says itself.
        command: Type.Union([Command, Type.Object({ exec: Type.Array(Type.String(), { maxItems: 0 }) })]),
        image: Type.Optional(
          Type.Object({ reference: Type.Optional(Type.String()), entrypoint: Type.Optional(Type.Array(Type.String())) }),
        ),
        reference: Type.Optional(Type.String()),
        workdir: Type.String(),
        env: Texts,
        tools: Type.Array(Type.Object({ name: Type.String(), wanted: Type.String() })),
        hooks: Type.Optional(Type.Object({ release: Type.Optional(Command), postdeploy: Type.Optional(Command) })),
      }),
    }),
    /** The newest config of the stack and of the component when the instance was started. */
    config: Type.Object({ stack: Type.Optional(Config), component: Type.Optional(Config) }),
    build: Type.Optional(
      Type.Object({
        number: Type.Integer(),
        sourceDigest: Type.String(),
        context: Type.String(),
        key: Type.String(),
        options: Type.Record(Type.String(), Type.Unknown()),
        plan: Maybe(BuildPlan),
        source: Type.Optional(
          Type.Object({
            kind: Type.Union([Type.Literal("upload"), Type.Literal("git")]),
            size: Type.Integer(),
            files: Type.Integer(),
            url: Maybe(Type.String()),
            ref: Maybe(Type.String()),
            revision: Maybe(Type.String()),
            author: Maybe(Type.String()),
            message: Maybe(Type.String()),
            dirty: Maybe(Type.Boolean()),
          }),
        ),
      }),
    ),
  },
  { $id: "ReleaseRecord" },
);
export type ReleaseRecord = Static<typeof ReleaseRecord>;

/** The record, when it is whole and really that of the release with this hash; undefined = there is none that this program understands. */
export function readRecord(value: unknown, hash: string): ReleaseRecord | undefined {
  if (!Value.Check(ReleaseRecord, value)) return undefined;
  return releaseHash(contentOf(value)) === hash ? value : undefined;
}

export function contentOf(record: ReleaseRecord): ReleaseContent {
  // Checked against the same schemas that the content was made by.
  return record.content as unknown as ReleaseContent;
}
