// Opens the API's port. A default port that is taken moves to the next free one; a chosen one is an error with words.
import type { FastifyInstance } from "fastify";
import type { Listen } from "../config-values.ts";
import { StartRefused } from "./refusal.ts";

const tries = 50;

export async function listenOn(server: FastifyInstance, wanted: Listen): Promise<string> {
  for (let port = wanted.port; ; port += 1) {
    try {
      return await server.listen({ host: wanted.host, port });
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EACCES")
        throw new StartRefused(`Port ${port} on ${wanted.host} is for root only.`, "Set BERTH_PORT to one above 1023.", { cause: error });
      if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND")
        throw new StartRefused(`${wanted.host} is no address of this machine.`, "Set BERTH_HOST to one that is, or leave it out.", {
          cause: error,
        });
      if (code !== "EADDRINUSE") throw error;
      if (!wanted.portIsDefault)
        throw new StartRefused(`Port ${port} on ${wanted.host} is taken.`, "Set BERTH_PORT to another one, or stop what listens there.", {
          cause: error,
        });
      if (port >= wanted.port + tries)
        throw new StartRefused(`Ports ${wanted.port} to ${port} on ${wanted.host} are all taken.`, "Set BERTH_PORT to a free one.", {
          cause: error,
        });
    }
  }
}
