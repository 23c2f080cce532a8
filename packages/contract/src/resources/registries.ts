// Registries that images are pulled from and pushed to. A password goes in and never comes out again.
import { Type, type Static } from "typebox";
import { lists } from "../lists.ts";
import { Instant, Text } from "../names.ts";
import { Allowed, Empty, ListQuery, Page, type Route } from "../route.ts";

/** As it begins the names of images, with its port; `default` for those that begin with none. */
export const RegistryHost = Type.String({
  maxLength: 259,
  pattern:
    "^(?:default|localhost|(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)(?:\\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*(?::[1-9][0-9]{0,4})?)$",
  description:
    "A host in lower case, with its port where it is not 443: `registry.example:5000`; `default` for names of images that begin with no host.",
});

export const Registry = Type.Object(
  {
    host: Type.String(),
    username: Type.String(),
    plainHttp: Type.Boolean({ description: "Berth itself asks it without TLS." }),
    createdAt: Instant,
    updatedAt: Instant,
    updatedBy: Type.String(),
    allowed: Allowed,
  },
  { additionalProperties: false, $id: "Registry" },
);
export type Registry = Static<typeof Registry>;

const Named = Type.Object({ registry: RegistryHost }, { additionalProperties: false });
/** All stacks may use them. */
const access = { permission: "installation.manage", at: "installation" } as const;

export const registryRoutes = {
  listRegistries: {
    method: "GET",
    path: "/registries",
    summary: "List the registries that there are credentials for (never their passwords)",
    kind: "json",
    access,
    list: lists.registries,
    query: ListQuery(lists.registries, {}),
    response: Page(Registry),
  },
  setRegistry: {
    method: "PUT",
    path: "/registries/:registry",
    summary: "Set the credentials of a registry, for every stack",
    kind: "json",
    access,
    verbs: ["Me.addRegistry", "Registry.set"],
    params: Named,
    body: Type.Object(
      {
        username: Text(255, { minLength: 1, pattern: "^[^:\\x00-\\x1f\\x7f]+$" }),
        password: Text(16_384, { minLength: 1, pattern: "^[^\\x00\\r\\n]+$" }),
        plainHttp: Type.Optional(
          Type.Boolean({ description: "Whether Berth asks it without TLS. Absent: only when it is on this machine's loopback." }),
        ),
      },
      { additionalProperties: false },
    ),
    response: Registry,
  },
  deleteRegistry: {
    method: "DELETE",
    path: "/registries/:registry",
    summary: "Forget the credentials of a registry",
    kind: "json",
    access,
    verbs: ["Registry.delete"],
    params: Named,
    response: Empty,
    status: 204,
  },
} as const satisfies Record<string, Route>;
