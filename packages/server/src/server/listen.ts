// Opens the API's port. A default port that is taken moves to the next free one; a chosen one is an error with words.
import type { FastifyInstance } from "fastify";
import type { Listen } from "../config.ts";

const tries = 50;

export async function listenOn(server: FastifyInstance, wanted: Listen): Promise<string> {
  for (let port = wanted.port; ; port += 1) {
    try {
      return await server.listen({ host: wanted.host, port });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
      if (!wanted.portIsDefault) throw new Error(`Port ${port} on ${wanted.host} is taken. Set BERTH_PORT to another one, or stop what listens there.`, { cause: error });
      if (port >= wanted.port + tries) throw new Error(`Ports ${wanted.port} to ${port} on ${wanted.host} are all taken. Set BERTH_PORT.`, { cause: error });
    }
  }
}
