from dataclasses import dataclass
import pandas as pd, numpy as np, torch
from pathlib import Path
@dataclass(frozen=True)
class Data:
    inputs: torch.Tensor; targets: torch.Tensor; shape: tuple; classes: int; vocabulary: int|None=None
def load(dataset,n,classes,generator,data_dir=""):
    d=pd.read_csv(Path(__file__).parents[3]/'data/digits.csv'); X=d.iloc[:,:-1].to_numpy(float); y=d.iloc[:,-1].to_numpy()
    idx=np.concatenate([np.where(y==c)[0][:n//classes] for c in range(classes)])
    X=X[idx]; y=y[idx]; X=(X-X.mean())/X.std()
    return Data(torch.tensor(X),torch.tensor(y),(1,8,8),classes)
