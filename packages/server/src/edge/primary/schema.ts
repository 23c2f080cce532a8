// The shape of what the control plane sends. It is checked before it reaches the disk: routers start from that file alone.
import { Type, type Static } from "typebox";
import { Host, Name } from "@berth/contract/names.ts";

const PortNumber = Type.Integer({ minimum: 1, maximum: 65_535 });
const Weight = Type.Number({ minimum: 0, maximum: 100 });
const TrackName = Type.String({ pattern: "^[a-z][a-z0-9-]{0,62}$" });
/** RFC 6265 token: it is written into a header. */
const CookieName = Type.String({ pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$" });

const Endpoint = Type.Object({
  instance: Type.String({ minLength: 1 }),
  releaseHash: Type.String({ minLength: 1 }),
  host: Type.String({ minLength: 1 }),
  port: PortNumber,
  state: Type.Union([Type.Literal("active"), Type.Literal("draining")]),
  http2: Type.Optional(Type.Boolean()),
});
const Port = Type.Object({
  name: Name,
  protocol: Type.Union([Type.Literal("http"), Type.Literal("tcp")]),
  hosts: Type.Array(Type.Object({ host: Host, path: Type.String({ pattern: "^/" }), https: Type.Optional(Type.Literal("redirect")) })),
  published: Type.Optional(PortNumber),
  internal: PortNumber,
  inside: Type.Optional(Type.Object({ host: Type.String({ minLength: 1 }), port: PortNumber })),
  tracks: Type.Array(Type.Object({ name: TrackName, weight: Weight, endpoints: Type.Array(Endpoint) })),
});
const Condition = Type.Object({
  in: Type.Union([Type.Literal("header"), Type.Literal("cookie")]),
  name: Type.String({ minLength: 1 }),
  match: Type.Union([Type.Literal("exact"), Type.Literal("prefix"), Type.Literal("regex"), Type.Literal("present")]),
  value: Type.String(),
});

export const RefSchema = Type.Object({ stack: Name, component: Name });
export const FenceSchema = Type.Object({
  installation: Type.String({ minLength: 1 }),
  epoch: Type.Integer({ minimum: 0 }),
  generation: Type.Integer({ minimum: 0 }),
});
export const EpochBody = Type.Pick(FenceSchema, ["installation", "epoch"]);
export const EntrySchema = Type.Object({
  ref: RefSchema,
  ports: Type.Array(Port),
  rules: Type.Array(Type.Object({ conditions: Type.Array(Condition, { minItems: 1 }), track: TrackName })),
  sticky: Type.Optional(Type.Object({ cookie: CookieName, maxAge: Type.Integer({ minimum: 0 }) })),
  holdFor: Type.Integer({ minimum: 0, maximum: 3_600_000 }),
  drainTimeout: Type.Integer({ minimum: 0 }),
  limits: Type.Optional(
    Type.Object({ maxBody: Type.Optional(Type.Integer({ minimum: 0 })), maxConnections: Type.Optional(Type.Integer({ minimum: 1 })) }),
  ),
  stopped: Type.Boolean(),
});
export const ApplyBody = Type.Object({ fence: FenceSchema, entry: EntrySchema });
export const UpgradeBody = Type.Object({ node: Type.String({ pattern: "^/" }), entry: Type.String({ pattern: "^/" }) });
export const RemoveBody = Type.Object({ fence: FenceSchema });
/** Everything there is; sizes are those of generous chains and keys. */
export const CertificatesBody = Type.Object({
  fence: FenceSchema,
  certificates: Type.Array(
    Type.Object({
      name: Name,
      chain: Type.String({ maxLength: 65_536 }),
      key: Type.String({ maxLength: 16_384 }),
      isDefault: Type.Boolean(),
    }),
    { maxItems: 10_000 },
  ),
});
const Token = Type.String({ pattern: "^[A-Za-z0-9_-]{1,256}$" });
/** The token has the alphabet of base64url and the answer is it, a dot and a hash (RFC 8555, 8.1): nothing else may be served in a component's place. */
export const ProofBody = Type.Object({
  epoch: EpochBody,
  proof: Type.Object({
    host: Host,
    token: Token,
    answer: Type.String({ pattern: "^[A-Za-z0-9_-]{1,256}\\.[A-Za-z0-9_-]{1,256}$" }),
    until: Type.Integer({ minimum: 0 }),
  }),
});
export const ProofRemoval = Type.Object({ epoch: EpochBody, token: Token });
export type CertificatesBody = Static<typeof CertificatesBody>;
export type ApplyBody = Static<typeof ApplyBody>;
