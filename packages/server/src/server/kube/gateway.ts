// The gateways of a cluster, and where each takes requests. https://gateway-api.sigs.k8s.io/reference/spec/#gateway
import type { KubeFacts } from "../../core/kube-clusters.ts";
import type { Listed } from "../../kubernetes/objects.ts";

export interface Gateway extends Listed {
  readonly spec?: { readonly listeners?: readonly { readonly name: string; readonly port: number; readonly protocol: string }[] };
  readonly status?: {
    readonly addresses?: readonly { readonly type?: string; readonly value: string }[];
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason?: string;
      readonly message?: string;
    }[];
  };
}

export const nameOf = ({ metadata }: Gateway): string => `${metadata.namespace ?? ""}/${metadata.name}`;

/** Where users come in without TLS, as its status says; undefined: it says no address, or takes no HTTP. */
export function addressIn({ spec, status }: Gateway): KubeFacts["address"] | undefined {
  const address = status?.addresses?.[0]?.value;
  const listener = spec?.listeners?.find(({ protocol }) => protocol === "HTTP");
  return address === undefined || listener === undefined ? undefined : { host: address, port: listener.port };
}

/** Why it takes no routes; undefined: it does. A gateway that says nothing of itself yet takes none. */
export function troubleOf(gateway: Gateway | undefined): string | undefined {
  if (gateway === undefined) return "its gateway is not there any more";
  const programmed = gateway.status?.conditions?.find(({ type }) => type === "Programmed");
  if (programmed?.status === "True") return undefined;
  const words = programmed?.message || programmed?.reason || "no controller has taken it";
  return `its gateway ${nameOf(gateway)} is not ready: ${words}`;
}
