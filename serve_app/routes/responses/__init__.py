"""POST /v1/responses: answers with the tool ``file_search``, in the shapes of OpenAI's Responses API."""
