// What a known path says to a method that it has not: 405 with the methods that it has (RFC 9110, section 15.5.6), before anything is read or looked up.
import type { FastifyInstance, HTTPMethods } from "fastify";
import { BerthError } from "../core/errors.ts";

/** To be called after all routes. `had`: their methods by URL pattern. */
export function refuseOtherMethods(fastify: FastifyInstance, had: ReadonlyMap<string, ReadonlySet<string>>): void {
  for (const [url, methods] of had) {
    const allow = [...methods].sort();
    fastify.route({
      method: fastify.supportedMethods.filter((method) => !allow.includes(method)) as HTTPMethods[],
      url,
      onRequest: (request, reply) => {
        reply.header("allow", allow.join(", "));
        return Promise.reject(new BerthError("method_not_allowed", { method: request.method, allow: allow.join(", ") }));
      },
      handler: () => undefined,
    });
  }
}
