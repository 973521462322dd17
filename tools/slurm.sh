#!/usr/bin/env bash
# Train on several machines under Slurm; all of them must see the work_dir.
#
#   sbatch --nodes 2 --gpus-per-node 8 tools/slurm.sh configs/cifar10/resnet20_resnet56_consecutive.py --work-dir runs/a
#
# Two minutes before its time limit the run saves and ends, and Slurm queues it again, to resume where it stopped.
#SBATCH --ntasks-per-node=1
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

config=${1:?usage: sbatch tools/slurm.sh CONFIG --work-dir FOLDER [options of tools/train.py]}
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# torchrun passes SIGUSR1 on to its processes, which then save and end.
export TORCHELASTIC_SIGNALS_TO_HANDLE=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

status=0
srun torchrun --nnodes "$SLURM_JOB_NUM_NODES" --nproc-per-node "${SLURM_GPUS_ON_NODE:-1}" \
    --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$head:29500" \
    tools/train.py "$config" --resume auto "${@:2}" || status=$?
# A finished run has written its report; one that was told to stop has not.
echo "torchrun ended with status $status"
exit "$status"
