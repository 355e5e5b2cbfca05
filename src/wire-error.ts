import { CulvertError, InputError } from './errors.ts';

/** An error as it crosses a thread: classes do not. */
export type WireError = {
  readonly code: string;
  readonly message: string;
  readonly field?: string;
  readonly input: boolean;
  readonly stack?: string;
};

export function wireError(error: unknown): WireError {
  if (!(error instanceof Error)) return { code: 'internal', message: String(error), input: false };
  const { message, stack } = error;
  return {
    code: error instanceof CulvertError ? error.code : 'internal',
    message,
    input: error instanceof InputError,
    ...(error instanceof CulvertError && error.field !== undefined ? { field: error.field } : {}),
    ...(stack === undefined ? {} : { stack }),
  };
}

export function errorOf({ code, message, field, input, stack }: WireError): CulvertError {
  const options = field === undefined ? {} : { field };
  const error = input ? new InputError(code, message, options) : new CulvertError(code, message, options);
  if (stack !== undefined) error.stack = stack;
  return error;
}
