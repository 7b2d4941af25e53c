"""Checks launch/mpijob.yaml: a document of the MPI Operator's kubeflow.org/v2beta1 whose keys above the pods are known ones, with as many
pictures for each rank, and threads for each core, as it has ranks and cores.

Needs PyYAML.
"""
import pathlib

import yaml

PATH = pathlib.Path(__file__).resolve().parent.parent / "launch/mpijob.yaml"
# Of https://github.com/kubeflow/mpi-operator, pkg/apis/kubeflow/v2beta1/types.go.
SPEC = {"slotsPerWorker", "runLauncherAsWorker", "runPolicy", "sshAuthMountPath", "mpiImplementation", "launcherCreationPolicy", "mpiReplicaSpecs"}
RUN_POLICY = {"cleanPodPolicy", "ttlSecondsAfterFinished", "activeDeadlineSeconds", "backoffLimit", "schedulingPolicy", "suspend", "managedBy"}
REPLICA = {"replicas", "restartPolicy", "template"}


def known(found, keys, where):
    assert set(found) <= keys, f"{where}: unknown {set(found) - keys}"


def main():
    job = yaml.safe_load(PATH.read_text())
    known(job, {"apiVersion", "kind", "metadata", "spec"}, "document")
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v2beta1", "MPIJob")
    spec = job["spec"]
    known(spec, SPEC, "spec")
    known(spec["runPolicy"], RUN_POLICY, "runPolicy")
    assert spec["runPolicy"]["cleanPodPolicy"] in ("None", "Running", "All")
    assert spec["mpiImplementation"] in ("OpenMPI", "Intel", "MPICH")
    replicas = spec["mpiReplicaSpecs"]
    assert set(replicas) == {"Launcher", "Worker"} and replicas["Launcher"]["replicas"] == 1
    for name, replica in replicas.items():
        known(replica, REPLICA, name)
        pod = replica["template"]["spec"]
        claims = {volume["name"] for volume in pod.get("volumes", [])}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container.get("volumeMounts", [])} == claims, f"{name}: volumes and mounts differ"
            assert all(isinstance(word, str) for word in container["command"] + container.get("args", [])), f"{name}: a word is no text"
    words = replicas["Launcher"]["template"]["spec"]["containers"][0]["args"]
    option = {word: words[i + 1] for i, word in enumerate(words[:-1])}
    ranks = replicas["Worker"]["replicas"] * spec["slotsPerWorker"]
    assert int(option["-b"]) == ranks * int(option["--micro-batch"]), "a batch norm group for each rank"
    cores = replicas["Worker"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"]
    assert int(option["--threads"]) * spec["slotsPerWorker"] == int(cores), "threads and cores"
    print(f"{PATH.name}: {ranks} ranks, batches of {option['-b']}")


if __name__ == "__main__":
    main()
