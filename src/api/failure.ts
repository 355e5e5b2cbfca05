import { CulvertError, InputError } from '../errors.ts';
import type { FailureResource } from './schema.ts';

export type FailureStatus = 400 | 401 | 404 | 408 | 409 | 413 | 415 | 431 | 500 | 503;

/** Codes that say more than whether the caller or the host is at fault. */
const STATUS: Readonly<Record<string, FailureStatus>> = {
  token_required: 401,
  sandbox_unknown: 404,
  lease_unknown: 404,
  host_unknown: 404,
  no_cluster: 404,
  route_unknown: 404,
  request_timeout: 408,
  sandbox_exists: 409,
  via_taken: 409,
  via_group: 409,
  via_address: 409,
  lease_state: 409,
  host_alive: 409,
  not_a_microvm: 409,
  body_too_big: 413,
  media_type: 415,
  headers_too_big: 431,
  // The host cannot do it now, and may later or when someone has made room.
  slots_exhausted: 503,
  bridge_exhausted: 503,
  draining: 503,
  subscribers_exhausted: 503,
  engine_stopped: 503,
  overloaded: 503,
  expelled: 503,
  subnet_uncertain: 503,
  registry_unavailable: 503,
  registry_denied: 503,
  cluster_busy: 503,
  via_down: 503,
  via_exhausted: 503,
  store_locked: 503,
  store_read_only: 503,
  store_full: 503,
  store_corrupt: 503,
  store_unreachable: 503,
  store_version: 503,
  store_io: 503,
};

/** The HTTP status (RFC 9110) of a failure: 4xx where the caller's input is to blame and nothing was changed. */
export function statusOf(error: CulvertError): FailureStatus {
  return STATUS[error.code] ?? (error instanceof InputError ? 400 : 500);
}

/** What a host refuses in its daily work; who asked is told, and nobody else has to be. */
const EVERYDAY: ReadonlySet<string> = new Set([
  'slots_exhausted',
  'bridge_exhausted',
  'via_exhausted',
  'subscribers_exhausted',
  'draining',
]);

/** Whether the daemon's log is to have it. */
export function isNoteworthy(error: CulvertError): boolean {
  return statusOf(error) >= 500 && !EVERYDAY.has(error.code);
}

/** What is told of a failure. */
export function failureBody({ code, message, field }: CulvertError): FailureResource {
  return { error: { code, message, ...(field === undefined ? {} : { field }) } };
}

/** The failure that a response tells of; the other way round than {@link failureBody}. */
export function failureFrom(status: number, { error: { code, message, field } }: FailureResource): CulvertError {
  const Kind = status < 500 ? InputError : CulvertError;
  return new Kind(code, message, field === undefined ? {} : { field });
}
