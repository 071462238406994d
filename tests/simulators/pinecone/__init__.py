"""A simulator of one Pinecone index, to which the real client speaks over TCP.

    with simulator(dim=384) as server:
        index = Index(host=server.url, api_key="any")

It follows Pinecone's published description (``contract``) and its pages about limits and filters. It was
never compared with the live service. Where the pages say too little, it takes the reading that is harder for
a client: an unequal comparison does not match a record without the attribute, equal scores have no order.

It has the data plane only. The client's control plane speaks a newer version than the description at hand,
and the adapter does not need it: the settings name the host of an index.
"""
