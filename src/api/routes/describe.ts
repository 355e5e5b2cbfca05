import type { z } from '@hono/zod-openapi';
import type { FailureStatus } from '../failure.ts';
import { failureResource } from '../schema.ts';

const WHY: Readonly<Record<FailureStatus, string>> = {
  400: 'The input is wrong; nothing was changed',
  401: 'The bearer token is missing or wrong',
  404: 'There is no such thing; nothing was changed',
  408: 'The request took too long to arrive',
  409: 'It does not go with what is there; nothing was changed',
  413: 'The body is too big',
  415: 'The body is not JSON',
  431: 'The headers are too big',
  500: 'Culvert or the kernel failed',
  503: 'It cannot be done now',
};

type JsonContent<Schema> = { 'application/json': { schema: Schema } };

type JsonReply<Schema> = { description: string; content: JsonContent<Schema> };

export function jsonBody<Schema extends z.ZodType>(schema: Schema): { required: true; content: JsonContent<Schema> } {
  return { required: true, content: { 'application/json': { schema } } };
}

export function jsonReply<Schema extends z.ZodType>(schema: Schema, description: string): JsonReply<Schema> {
  return { description, content: { 'application/json': { schema } } };
}

/** The failures of a route, for its description: a handler throws them. */
export function failures<Status extends FailureStatus>(
  ...statuses: Status[]
): Record<Status, JsonReply<typeof failureResource>> {
  const described = statuses.map((status) => [status, jsonReply(failureResource, WHY[status])]);
  return Object.fromEntries(described) as Record<Status, JsonReply<typeof failureResource>>;
}
