// The answer to a request of HTTP/1.1: Node's, and it knows its exchange, so that its events need no closure.
import { ServerResponse, type IncomingMessage } from "node:http";
import type { AnswerOwner, ClientAnswer } from "./client.ts";

export class EdgeResponse extends ServerResponse<IncomingMessage> implements ClientAnswer {
  exchange: AnswerOwner | undefined;

  belongsTo(exchange: AnswerOwner): void {
    this.exchange = exchange;
    this.on("close", onClose);
  }

  whenDrained(): void {
    this.once("drain", onDrain);
  }
}

function onClose(this: EdgeResponse): void {
  this.exchange?.finish();
}

function onDrain(this: EdgeResponse): void {
  this.exchange?.drained();
}
