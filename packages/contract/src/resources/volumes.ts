// Named volumes: they survive releases, and the removal of component and stack, until someone deletes them by name.
import { Type, type Static } from "typebox";
import { lists } from "../lists.ts";
import { ClusterName, Instant, Name } from "../names.ts";
import { Allowed, Empty, ListQuery, Page, type Route } from "../route.ts";
import { InStack } from "./common.ts";

export const Volume = Type.Object(
  {
    stack: Name,
    name: Name,
    cluster: ClusterName,
    bytes: Type.Optional(Type.Integer()),
    usedBy: Type.Array(Name),
    stackDeleted: Type.Boolean({ description: "The stack is gone and the volume was kept." }),
    createdAt: Instant,
    allowed: Allowed,
  },
  { additionalProperties: false, $id: "Volume" },
);
export type Volume = Static<typeof Volume>;
const One = Type.Object({ stack: Name, volume: Name }, { additionalProperties: false });

export const volumeRoutes = {
  listAllVolumes: {
    method: "GET",
    path: "/volumes",
    summary: "List the volumes of every stack, kept ones of deleted stacks too",
    kind: "json",
    access: "signed-in",
    list: lists.allVolumes,
    query: ListQuery(lists.allVolumes, { usedBy: Type.Optional(Name), stackDeleted: Type.Optional(Type.Boolean()) }),
    response: Page(Volume),
  },
  listVolumes: {
    method: "GET",
    path: "/stacks/:stack/volumes",
    summary: "List a stack's volumes",
    kind: "json",
    access: { permission: "stacks.read", at: "stack" },
    params: InStack,
    list: lists.volumes,
    query: ListQuery(lists.volumes, { usedBy: Type.Optional(Name) }),
    response: Page(Volume),
  },
  snapshotVolume: {
    method: "GET",
    path: "/stacks/:stack/volumes/:volume/archive",
    summary: "What is in a volume, as a tar archive; of one that is in use, each file as it is at its moment",
    kind: "download",
    access: "signed-in",
    params: One,
    response: Type.String({ description: "A tar archive whose names begin with `./`." }),
  },
  restoreVolume: {
    method: "PUT",
    path: "/stacks/:stack/volumes/:volume/archive",
    summary: "Fill a volume that is empty or not there yet from a tar archive, whole or not at all",
    kind: "upload",
    access: { permission: "volumes.write", at: "stack" },
    params: One,
    response: Volume,
  },
  deleteVolume: {
    method: "DELETE",
    path: "/stacks/:stack/volumes/:volume",
    summary: "Delete a volume and what is in it, for good",
    kind: "json",
    access: "signed-in",
    verbs: ["Volume.delete"],
    params: One,
    response: Empty,
    status: 202,
  },
} as const satisfies Record<string, Route>;
