// Drift: what somebody made by hand of the objects that Berth put into a cluster, and what a stack wants done about it.
import { Type, type Static } from "typebox";
import { ClusterName, Instant, Name } from "../names.ts";
import type { Route } from "../route.ts";
import { InStack, UnknownSince } from "./common.ts";

export const StackDrift = Type.Union([Type.Literal("repair"), Type.Literal("report")], {
  description: "What happens to changes that somebody makes by hand in the cluster: they are taken back, or only told.",
});
export type StackDrift = Static<typeof StackDrift>;

export const Drift = Type.Object(
  {
    stack: Name,
    cluster: ClusterName,
    drift: StackDrift,
    unknownSince: Type.Optional(UnknownSince),
    others: Type.Optional(
      Type.Array(Type.Object({ name: Name, unknownSince: Type.Optional(UnknownSince) }, { additionalProperties: false }), {
        description: "Clusters beside the stack's own that components of it run in.",
      }),
    ),
    differences: Type.Array(
      Type.Object(
        {
          component: Name,
          cluster: Type.Optional({ ...ClusterName, description: "Where the component runs in several." }),
          object: Type.String({ description: "Kind and name." }),
          path: Type.String({ description: "Of the field, as in `spec.template.spec.containers[web].image`." }),
          wanted: Type.Optional(Type.String({ description: "What Berth put there, JSON unless it is a text; absent: nothing." })),
          found: Type.Optional(Type.String({ description: "What is there; absent: it was taken away." })),
          by: Type.Optional(
            Type.String({ description: "The program that owns the field, as the cluster names it; absent: nobody knows." }),
          ),
          at: Type.Optional(Instant),
        },
        { additionalProperties: false },
      ),
    ),
  },
  { additionalProperties: false, $id: "Drift" },
);
export type Drift = Static<typeof Drift>;

export const driftRoutes = {
  showDrift: {
    method: "GET",
    path: "/stacks/:stack/drift",
    summary: "What somebody changed by hand of what Berth put into the cluster, as it was seen last",
    kind: "json",
    access: { permission: "stacks.read", at: "stack" },
    params: InStack,
    query: Type.Object({ component: Type.Optional(Name) }, { additionalProperties: false }),
    response: Drift,
  },
} as const satisfies Record<string, Route>;
