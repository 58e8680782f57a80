/** What a request asks for; null for what is no URL: "//", "http://[". */
export function parseTarget(target = '/'): URL | null {
  try {
    return new URL(target, 'http://launcher')
  } catch {
    return null
  }
}
