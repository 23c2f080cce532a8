// The generated documents: fresh, complete and consistent.
import { readFileSync } from "node:fs";
import { routes } from "@berth/contract/api.ts";
import { isPermission } from "@berth/contract/permissions.ts";
import type { Route } from "@berth/contract/route.ts";
import { describe, expect, test } from "vitest";
import { errorsFile, errorsText } from "./write-errors.ts";
import { openapiFile, openapiText } from "./write-openapi.ts";

const table = Object.entries<Route>(routes);

describe("openapi.json", () => {
  const document = JSON.parse(openapiText()) as {
    paths: Record<string, Record<string, { operationId: string; parameters: { name: string; in: string }[] }>>;
    components: { schemas: Record<string, unknown> };
  };
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.values(methods).map((operation) => ({ path, operation })),
  );

  test("is the route table's; if not, run `node packages/server/src/http/write-openapi.ts`", () => {
    expect(readFileSync(openapiFile, "utf8")).toBe(openapiText());
  });

  test("has every route once, with every path parameter declared", () => {
    expect(operations.map(({ operation }) => operation.operationId).sort()).toEqual(table.map(([name]) => name).sort());
    for (const { path, operation } of operations) {
      const named = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort();
      expect(
        operation.parameters
          .filter((parameter) => parameter.in === "path")
          .map((parameter) => parameter.name)
          .sort(),
        path,
      ).toEqual(named);
    }
  });

  test("refers only to schemas that it has, and shows nothing of how they were made", () => {
    const text = JSON.stringify(document);
    const referred = [...text.matchAll(/"#\/components\/schemas\/(\w+)"/g)].map((match) => match[1] ?? "");
    expect(referred.length).toBeGreaterThan(50);
    for (const name of referred) expect(document.components.schemas, name).toHaveProperty(name);
    expect(text).not.toMatch(/"~\w+"|"\$id"/);
  });
});

test("docs/errors.md is the catalogues'; if not, run `node packages/server/src/http/write-errors.ts`", () => {
  expect(readFileSync(errorsFile, "utf8")).toBe(errorsText());
});

describe("every route", () => {
  test("declares who may call it, with a permission that exists", () => {
    expect(table.length).toBeGreaterThan(70);
    for (const [name, route] of table) {
      expect(["public", "signed-in", "object"], name).toContain(typeof route.access === "string" ? route.access : "object");
      if (typeof route.access === "object") expect(isPermission(route.access.permission), `${name}: ${route.access.permission}`).toBe(true);
    }
    expect(
      table
        .filter(([, route]) => route.access === "public")
        .map(([name]) => name)
        .sort(),
    ).toEqual(["login", "notifyRegistry", "showInstallation"]);
  });

  test("that lists is paged, and one that makes something takes an Idempotency-Key", () => {
    for (const [name, route] of table) {
      if (route.method === "POST" && route.status === 201 && route.kind === "json" && route.access !== "public")
        expect(route.idempotent, name).toBe(true);
    }
  });
});
