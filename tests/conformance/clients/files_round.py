"""openai: files and vector stores, used as its documentation shows."""

from client_script import error_of, print_results, task
from openai import OpenAI

asked = task()
client = OpenAI(base_url=asked["base_url"], api_key="none needed", max_retries=0)
texts = asked["texts"]

store = client.vector_stores.create(name="round", metadata={"of": "python"})
first = client.files.create(file=("pump.md", asked["pump"].encode()), purpose="assistants")
attached = client.vector_stores.files.create_and_poll(
    first.id, vector_store_id=store.id, attributes={"plant": "north", "year": 2024}
)
uploads = [(f"note-{number:02}.txt", text.encode()) for number, text in enumerate(texts)]
batch = client.vector_stores.file_batches.upload_and_poll(store.id, files=uploads)
broken = client.files.create(file=("broken.pdf", b"%PDF-1.7\n1 0 obj"), purpose="assistants")
failed = client.vector_stores.files.create_and_poll(broken.id, vector_store_id=store.id)
filters = {
    "type": "and",
    "filters": [
        {
            "type": "or",
            "filters": [
                {"type": "eq", "key": "plant", "value": "north"},
                {"type": "eq", "key": "plant", "value": "south"},
            ],
        },
        {"type": "gte", "key": "year", "value": 2020},
    ],
}
hits = client.vector_stores.search(store.id, query=asked["question"], filters=filters, max_num_results=5)
everywhere = client.vector_stores.search(store.id, query=[texts[7], asked["question"]], max_num_results=2)
files = [file.id for file in client.vector_stores.files.list(store.id, limit=20)]
content = "".join(
    part.text or "" for part in client.vector_stores.files.content(first.id, vector_store_id=store.id)
)
counts = client.vector_stores.retrieve(store.id).file_counts
downloaded = client.files.content(first.id).read().decode()
client.vector_stores.files.delete(first.id, vector_store_id=store.id)
after = client.vector_stores.search(store.id, query=asked["question"], filters=filters)
deleted = [client.files.delete(first.id).deleted, client.vector_stores.delete(store.id).deleted]
print_results(
    attached=attached.status,
    batch=[batch.status, batch.file_counts.completed],
    failed=[failed.status, failed.last_error.code if failed.last_error else None],
    hits=[hit.filename for hit in hits],
    everywhere=sorted(hit.filename for hit in everywhere),
    files=len(files),
    distinct=len(set(files)),
    content=content,
    counts=counts.to_dict(),
    downloaded=downloaded,
    after=len(list(after)),
    deleted=deleted,
    gone=error_of(lambda: client.files.retrieve(first.id)),
)
