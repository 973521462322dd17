#!/usr/bin/env bash
# Train on several machines under Slurm; all of them must see the work_dir.
#
#   sbatch --nodes 2 --gpus-per-node 8 --cpus-per-task 64 tools/slurm.sh configs/cifar10/resnet20_resnet56_consecutive.py --work-dir runs/a
#
# Two minutes before its time limit the run saves and ends, and the job is queued again, to resume where it stopped.
#SBATCH --ntasks-per-node=1
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -uo pipefail

config=${1:?usage: sbatch tools/slurm.sh CONFIG --work-dir FOLDER [options of motivation train]}
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

# torchrun passes the signal on to its processes, which finish their batch, save and end. Jobs get ports of their own.
srun torchrun --nnodes "$SLURM_JOB_NUM_NODES" --nproc-per-node "${SLURM_GPUS_ON_NODE:-1}" \
    --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$head:$((20000 + SLURM_JOB_ID % 20000))" \
    --signals-to-handle SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 --shutdown-timeout 110 \
    -m motivation train "$config" --resume auto "${@:2}" &
run=$!
stopped=
trap 'stopped=1; kill -USR1 "$run"' USR1
wait "$run"
status=$?
if [ -n "$stopped" ]; then # the signal has ended the first wait
    wait "$run" && exit 0
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
fi
exit "$status"
