/**
 * The one error family. `code` is stable and meant for machines; `message` says what was attempted and the value
 * that stopped it, in sentence case and without a full stop; `cause` keeps what lies beneath.
 */
export class CulvertError extends Error {
  /** Stable, lower case, words joined by `_`. */
  readonly code: string;
  /** The input field that is wrong, as a path such as `policy.allow[2]`; absent when no input is to blame. */
  readonly field: string | undefined;

  constructor(code: string, message: string, options: { readonly field?: string; readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'CulvertError';
    this.code = code;
    this.field = options.field;
  }
}

/** The caller's mistake: nothing was changed, and the same call with better input can succeed. */
export class InputError extends CulvertError {
  override readonly name = 'InputError';
}
