// Made anew for each request.
export const dynamic = 'force-dynamic'

export default function Page() {
  return <p>hello from process {process.pid}</p>
}
