// Adoption: what runs and the database does not know, after it was lost or put back in time, and taking it over as it runs.
import { Type, type Static } from "typebox";
import { ClusterName, Name } from "../names.ts";
import type { Route } from "../route.ts";
import { Note } from "./plans.ts";

export const Candidate = Type.Object(
  {
    stack: Name,
    component: Name,
    cluster: ClusterName,
    unknown: Type.Union([Type.Literal("stack"), Type.Literal("component"), Type.Literal("release")], {
      description: "The largest thing that the database does not know.",
    }),
    release: Type.Integer(),
    instances: Type.Integer(),
    urls: Type.Array(Type.String()),
    possible: Type.Boolean({ description: "Whether it can be taken over; the notes say why not." }),
    notes: Type.Array(Note),
  },
  { additionalProperties: false, $id: "Candidate" },
);
export type Candidate = Static<typeof Candidate>;

const manage = { permission: "installation.manage", at: "installation" } as const;
const Candidates = Type.Array(Candidate);
const Away = Type.Array(ClusterName, { description: "Clusters that are not connected, so that nobody looked there." });
export const adoptionRoutes = {
  showAdoption: {
    method: "GET",
    path: "/adoption",
    summary: "What runs here and is not in the database",
    kind: "json",
    access: manage,
    response: Type.Object({ candidates: Candidates, away: Away }, { additionalProperties: false }),
  },
  adopt: {
    method: "POST",
    path: "/adoption",
    summary: "Take over what runs, as it runs, into the database",
    kind: "json",
    access: manage,
    body: Type.Object(
      { stacks: Type.Optional(Type.Array(Name, { maxItems: 10_000, description: "Only these; absent = all." })) },
      { additionalProperties: false },
    ),
    response: Type.Object({ adopted: Candidates, left: Candidates, away: Away }, { additionalProperties: false }),
  },
} as const satisfies Record<string, Route>;
