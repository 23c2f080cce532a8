// What a kubeconfig gives to reach one cluster. Pure.

/** Who asks. PEM texts. */
export type ClusterAuth =
  { readonly kind: "certificate"; readonly cert: string; readonly key: string } | { readonly kind: "token"; readonly token: string };

export interface ClusterAccess {
  /** A URL without a slash at its end; plain HTTP only to this machine. */
  readonly server: string;
  /** PEM; absent: the authorities that the machine trusts. */
  readonly ca?: string;
  /** The name that the server's certificate has, where it is not the address's. */
  readonly serverName?: string;
  /** Whoever answers is believed. */
  readonly insecure?: true;
  readonly auth: ClusterAuth;
}
