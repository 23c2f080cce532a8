// A registry of images on loopback, for pulls: without passwords, and things in it may be deleted.
import { mkdirSync } from "node:fs";
import { startDaemon, until } from "./daemons.ts";
import { at, nodeRegistry, registry } from "./settings.ts";

/** On loopback, where nodes trust it by themselves, and where pods and a second node find it. */
export async function startRegistry(): Promise<void> {
  await serve("registry", registry);
  await startNodeRegistry();
}

/** Once more over the same folder, at the first node's address. */
export async function startNodeRegistry(): Promise<void> {
  await serve("registry-node2", nodeRegistry);
}

async function serve(name: string, address: string): Promise<void> {
  mkdirSync(at("registry"), { recursive: true });
  const configPath = at("registry", name === "registry" ? "config.json" : `${name}.json`);
  const config = {
    version: "0.1",
    log: { level: "warn" },
    storage: { filesystem: { rootdirectory: at("registry", "data") }, delete: { enabled: true } },
    http: { addr: address, secret: "test" },
  };
  await startDaemon({ name, argv: ["/usr/bin/docker-registry", "serve", configPath], files: { [configPath]: JSON.stringify(config) } });
  await until("answer of the registry", [name], async () => (await fetch(`http://${address}/v2/`)).ok);
}
