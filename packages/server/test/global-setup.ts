// Starts the tests' PostgreSQL before the first test file and gives it up after the last.
import type { TestProject } from "vitest/node";
import { acquireTestServer, releaseTestServer, type TestServer } from "./server.ts";

declare module "vitest" {
  export interface ProvidedContext {
    database: TestServer;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  project.provide("database", await acquireTestServer());
  return releaseTestServer;
}
