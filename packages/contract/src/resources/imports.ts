// Imports: what runs in a namespace of a Kubernetes cluster and was made by others, as the components that it would be, and taking it over as it runs.
import { Type, type Static } from "typebox";
import { ClusterName, Name, Text } from "../names.ts";
import type { Route } from "../route.ts";
import { ComponentSpec } from "../spec.ts";
import { Note } from "./plans.ts";

/** As a Kubernetes API has it. */
const Namespace = Text(63, { pattern: "^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$" });

export const ImportItem = Type.Object(
  {
    kind: Type.String({ description: "Of the object in the cluster, such as `Deployment`." }),
    name: Type.String(),
    state: Type.Union([Type.Literal("possible"), Type.Literal("imported"), Type.Literal("known"), Type.Literal("refused")], {
      description: "`possible`: it would be imported. `known`: it belongs to the stack already. `refused`: the notes say why.",
    }),
    instances: Type.Optional(Type.Integer()),
    image: Type.Optional(Type.String({ description: "What runs, by its digest." })),
    services: Type.Array(Type.String(), { description: "Services that lead to it, whose pods Berth chooses from its next release on." }),
    config: Type.Array(Type.String(), { description: "Variables that come from ConfigMaps and become config of the component." }),
    spec: Type.Optional(ComponentSpec),
    notes: Type.Array(Note),
  },
  { additionalProperties: false, $id: "ImportItem" },
);
export type ImportItem = Static<typeof ImportItem>;

export const importRoutes = {
  importNamespace: {
    method: "POST",
    path: "/imports",
    summary: "Take over what others made in a namespace, as it runs, into a stack",
    kind: "json",
    access: { permission: "installation.manage", at: "installation" },
    body: Type.Object(
      {
        cluster: ClusterName,
        namespace: Namespace,
        stack: Type.Optional({ ...Name, description: "What the stack is called; as the namespace, when absent." }),
        only: Type.Optional(
          Type.Array(Text(300, { pattern: "^[A-Za-z]+/[a-z0-9.-]+$" }), {
            maxItems: 1_000,
            description: "Only these, as in `deployment/web`; absent = all that can be.",
          }),
        ),
        managed: Type.Optional(Type.Boolean({ description: "Also what another tool, such as Helm, says that it manages." })),
        dryRun: Type.Optional(Type.Boolean({ description: "Only say what would be done." })),
      },
      { additionalProperties: false },
    ),
    response: Type.Object(
      { cluster: ClusterName, namespace: Type.String(), stack: Type.String(), items: Type.Array(ImportItem) },
      { additionalProperties: false },
    ),
  },
} as const satisfies Record<string, Route>;
