// HTTP face of webhooks.
import type { webhookRoutes } from "@berth/contract/resources/webhooks.ts";
import type { HandlersOf } from "../call.ts";
import type { WebhookService } from "./service.ts";

export function webhookHandlers(webhooks: WebhookService): HandlersOf<typeof webhookRoutes> {
  return {
    listWebhooks: ({ query }) => webhooks.list(query),
    createWebhook: ({ body }, call) => webhooks.create(call, body),
    deleteWebhook: async ({ params }, call) => {
      await webhooks.remove(call, params.webhook);
      return {};
    },
    notifyRegistry: ({ params, query, body, headers }, call) =>
      webhooks.notify(call, params.webhook, { body, headers, secret: query.secret }),
  };
}
