import { constants } from 'node:os'
import { expect } from 'vitest'

/** The error of a call that must fail. */
export function errorOf(call: () => unknown): NodeJS.ErrnoException {
  try {
    call()
  } catch (error) {
    return error as NodeJS.ErrnoException
  }
  throw new Error(`succeeded: ${call}`)
}

/** What a failed system call looks like. */
export function systemError(code: keyof typeof constants.errno, syscall: string): unknown {
  const errno = -constants.errno[code]
  return expect.objectContaining({ code, syscall, errno, message: expect.stringContaining(`${syscall} ${code}: `) })
}
