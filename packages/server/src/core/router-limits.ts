// The router's bounds against clients that take more than their share: how far each may go, and what it is where nobody chose.
// Settings and the edge both read them here, so that what is accepted from a user is what the edge accepts.

interface Bound {
  /** What config.json calls it. */
  readonly setting: string;
  /** How much of the edge's unit (bytes, ms, connections) one of the setting's is; the rest is in the setting's. */
  readonly unit: number;
  readonly least: number;
  readonly most: number;
  readonly standard: number;
}

export const routerLimits = {
  headerBytes: { setting: "headerBytes", unit: 1, least: 1024, most: 1_048_576, standard: 32 * 1024 },
  headersTimeout: { setting: "headersSeconds", unit: 1000, least: 0, most: 86_400, standard: 30 },
  clientTimeout: { setting: "stalledSeconds", unit: 1000, least: 0, most: 86_400, standard: 60 },
  idleTimeout: { setting: "idleSeconds", unit: 1000, least: 0, most: 86_400, standard: 75 },
  restFrom: { setting: "restFrom", unit: 1, least: 0, most: 1_000_000, standard: 200 },
  maxConnections: { setting: "connections", unit: 1, least: 1, most: 1_000_000, standard: 20_000 },
  maxConnectionsPerClient: { setting: "connectionsPerClient", unit: 1, least: 1, most: 1_000_000, standard: 2_000 },
} as const satisfies Readonly<Record<string, Bound>>;

export type RouterLimit = keyof typeof routerLimits;
