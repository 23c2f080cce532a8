// Webhooks: how registries say that an image was pushed. A secret belongs to each; it is shown once.
import { Type, type Static } from "typebox";
import { lists } from "../lists.ts";
import { Instant, Name, Text } from "../names.ts";
import { Allowed, Empty, ListQuery, Page, type Route } from "../route.ts";
import { RegistryHost } from "./registries.ts";

export const Webhook = Type.Object(
  {
    name: Name,
    registry: Type.String({ description: "Only components whose image is from here are looked at." }),
    createdAt: Instant,
    createdBy: Type.String(),
    notifiedAt: Type.Optional(Instant),
    allowed: Allowed,
  },
  { additionalProperties: false, $id: "Webhook" },
);
export type Webhook = Static<typeof Webhook>;

const Named = Type.Object({ webhook: Name }, { additionalProperties: false });
/** What it wakes may be in any stack. */
const access = { permission: "installation.manage", at: "installation" } as const;

export const webhookRoutes = {
  listWebhooks: {
    method: "GET",
    path: "/webhooks",
    summary: "List the webhooks that registries may call (never their secrets)",
    kind: "json",
    access,
    list: lists.webhooks,
    query: ListQuery(lists.webhooks, {}),
    response: Page(Webhook),
  },
  createWebhook: {
    method: "POST",
    path: "/webhooks",
    summary: "Make a webhook for a registry",
    kind: "json",
    access,
    verbs: ["Me.addWebhook"],
    idempotent: true,
    status: 201,
    body: Type.Object({ name: Name, registry: RegistryHost }, { additionalProperties: false }),
    response: Type.Object(
      { webhook: Webhook, secret: Type.String({ description: "Shown this once." }), path: Type.String() },
      { additionalProperties: false },
    ),
  },
  deleteWebhook: {
    method: "DELETE",
    path: "/webhooks/:webhook",
    summary: "Delete a webhook: what comes with its secret is refused from then on",
    kind: "json",
    access,
    verbs: ["Webhook.delete"],
    params: Named,
    response: Empty,
    status: 204,
  },
  notifyRegistry: {
    method: "POST",
    path: "/webhooks/registry/:webhook",
    summary: "For registries: an image was pushed. Whoever follows its tag is looked at; the registry itself is asked what it stands for",
    kind: "webhook",
    access: "public",
    params: Named,
    query: Type.Object(
      { secret: Type.Optional(Text(200, { description: "For senders that can neither sign nor send a header." })) },
      { additionalProperties: false },
    ),
    body: Type.Object({}, { description: "What the registry sends by itself, as JSON." }),
    status: 202,
    response: Type.Object({ components: Type.Integer({ description: "How many are looked at." }) }, { additionalProperties: false }),
  },
} as const satisfies Record<string, Route>;
