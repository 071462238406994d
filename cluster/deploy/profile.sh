# The environment of login shells in the image (Dockerfile): the programs of this project come first, and Ray gets
# the variables of ray.env. KubeRay and the image start every program in a login shell.
PATH=/opt/embedding-cluster/bin:$PATH
set -a
. "$(python3 -c 'from importlib.resources import files; print(files("cluster.deploy") / "ray.env")')"
set +a
