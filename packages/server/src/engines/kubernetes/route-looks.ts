// What somebody else made of a Service or HTTPRoute, field by field: what is there, compared with a dry run of what Berth put.
import type { KubeApi } from "../../kubernetes/api.ts";
import { KubeError } from "../../kubernetes/errors.ts";
import { listed } from "../../kubernetes/list.ts";
import type { Difference } from "../engine.ts";
import { changesOf, differenceOf, ofOthers } from "./differences.ts";
import type { HTTPRoute, Service } from "./routes.ts";

type Object_ = Service | HTTPRoute;

export class RouteLooks {
  readonly #api: KubeApi;

  constructor(api: KubeApi) {
    this.#api = api;
  }

  /** None when it is gone, or is as it was put. Errors: as of KubeApi.request. */
  async differences(object: Object_, signal: AbortSignal): Promise<Difference[]> {
    const { kind, metadata } = object;
    // Found by its name: Berth has the right to list them, and none to get one.
    const place = { namespace: metadata.namespace, fields: `metadata.name=${metadata.name}`, signal };
    const [live] = await listed<Object_>(this.#api, kind === "Service" ? "Service" : "HTTPRoute", place);
    if (live === undefined) return [];
    const asPut = await this.#api.apply<Object_>(object, { force: true, dryRun: true, signal }).catch((error: unknown) => {
      // Beside what was changed it is no valid object, such as two ports of one name.
      if (error instanceof KubeError && error.status === 422) return object;
      throw error;
    });
    const { managedFields = [] } = live.metadata;
    const name = `${kind} ${metadata.name}`;
    return ofOthers(changesOf({ spec: asPut.spec }, live), managedFields).map((change) => differenceOf(name, change, managedFields));
  }
}
