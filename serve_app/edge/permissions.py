"""Declare which scope each route requires of its caller, and check this scope. No other file declares scopes.

``JsonRoute`` calls ``required`` for its method and path when the application is built, and ``check`` before
each request, so every route is checked. A GET needs the scope ``read``, and every other method needs
``write``, unless this file names another scope for the path. The OpenAPI document shows the result as
``x-required-scope``.

    check(required("POST", "/v1/embeddings"))      # raises NotPermitted, or returns
"""

from contextlib import AbstractContextManager, nullcontext

from cluster.database import for_all_organisations
from cluster.errors import NotPermitted
from cluster.organisations.caller import CallerKind, Scope, current_caller

#: Paths whose POST requests change nothing.
READING_POSTS = frozenset(
    {
        "/v1/embeddings",
        "/v1/responses",
        "/v1/chat/completions",
        "/openai/deployments/{deployment}/embeddings",
        "/v1/tokenize",
        "/v1/rerank",
        "/v2/rerank",
        "/rerank",
        "/embed",
        "/v2/embed",
        "/v1/vector_stores/{vector_store}/search",
        "/mcp",  # its tools only read
    }
)
#: Beginnings of the paths of routes that need the scope ``admin``: the routes about the caller's own
#: organisation, its budgets and its usage, and the routes about webhooks. The events of webhooks name jobs
#: and files of all stores, and usage is that of all keys. A key without the scope ``admin`` may be limited to
#: some stores.
ADMIN_PATHS = (
    "/v1/organisation/",
    "/v1/organization/",
    "/v1/budgets",
    "/v1/usage",  # and "/v1/usage_reports"
    "/v1/webhooks",
    "/v1/webhook_endpoints",
)
#: Beginnings of the paths of routes about all organisations or the whole cluster. Only the operator may use
#: these routes.
OPERATOR_PATHS = ("/v1/organisations", "/v1/doctor")
#: Value of ``required`` for a route that only the operator may use.
OPERATOR = "operator"


def required(method: str, path: str) -> str:
    """Return the scope that a route requires, or ``OPERATOR``.

    Args:
        method: the HTTP method.
        path: the path of the route, with its parameters in braces.
    """
    if path.startswith(OPERATOR_PATHS):
        return OPERATOR
    if path.startswith(ADMIN_PATHS):
        return Scope.ADMIN
    return Scope.READ if method == "GET" or path in READING_POSTS else Scope.WRITE


def row_access(scope: str) -> AbstractContextManager[None]:
    """Return the row access of a route with this scope: all organisations for the operator's routes, and the
    access that the request has already for every other route.

    Raises:
        NotPermitted: (when the block begins) the caller does not operate the cluster.
    """
    return for_all_organisations() if scope == OPERATOR else nullcontext()


def check(scope: str) -> None:
    """Check that the caller of the current request has the scope, or operates the cluster if the scope is
    ``OPERATOR``.

    Raises:
        NotPermitted: the caller does not have the scope, or does not operate the cluster.
    """
    caller = current_caller()
    if scope == OPERATOR:
        if not caller.operates:
            raise NotPermitted("only the operator's key (CLUSTER_API_KEY) may use this path")
    elif scope not in caller.scopes:
        kind = "token" if caller.kind is CallerKind.TOKEN else "API key"
        raise NotPermitted(
            f"this request needs the scope {scope}, and the {kind} of this request, {caller.id}, has only "
            f"{', '.join(sorted(caller.scopes))}; use another {kind}"
        )
